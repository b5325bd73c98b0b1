#![no_main]
packetboat_fuzz::target!(message::surrogate);
