#![no_main]
packetboat_fuzz::target!(wire::reply);
