#![no_main]
packetboat_fuzz::target!(secure::sts_record);
