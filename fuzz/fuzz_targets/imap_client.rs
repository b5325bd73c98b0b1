#![no_main]
packetboat_fuzz::target!(imap::client);
