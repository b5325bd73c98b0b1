#![no_main]
packetboat_fuzz::target!(transfer::mbox);
