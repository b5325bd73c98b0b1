#![no_main]
packetboat_fuzz::target!(wire::dot_round_trip);
