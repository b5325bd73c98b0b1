#![no_main]
packetboat_fuzz::target!(import::users);
