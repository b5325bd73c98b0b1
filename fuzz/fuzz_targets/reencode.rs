#![no_main]
packetboat_fuzz::target!(report::reencode);
