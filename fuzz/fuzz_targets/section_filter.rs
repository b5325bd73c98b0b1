#![no_main]
packetboat_fuzz::target!(mime::section_filter);
