#![no_main]
packetboat_fuzz::target!(wire::certificate);
