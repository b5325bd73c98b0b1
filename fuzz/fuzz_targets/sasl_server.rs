#![no_main]
packetboat_fuzz::target!(wire::sasl_server);
