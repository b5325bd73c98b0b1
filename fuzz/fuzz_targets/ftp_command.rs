#![no_main]
packetboat_fuzz::target!(ftp::command);
