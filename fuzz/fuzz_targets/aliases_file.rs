#![no_main]
packetboat_fuzz::target!(alias::aliases_file);
