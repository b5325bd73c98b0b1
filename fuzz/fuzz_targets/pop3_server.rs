#![no_main]
packetboat_fuzz::target!(pop3::server);
