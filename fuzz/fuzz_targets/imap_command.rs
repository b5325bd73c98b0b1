#![no_main]
packetboat_fuzz::target!(imap_server::command);
