#![no_main]
packetboat_fuzz::target!(mime::structure);
