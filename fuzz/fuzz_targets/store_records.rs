#![no_main]
packetboat_fuzz::target!(store::records);
