#![no_main]
packetboat_fuzz::target!(message::compose);
