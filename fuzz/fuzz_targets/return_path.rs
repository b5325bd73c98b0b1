#![no_main]
packetboat_fuzz::target!(alias::return_path);
