#![no_main]
packetboat_fuzz::target!(smtp::client);
