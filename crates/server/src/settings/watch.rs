//! What is told of files: the log of transfers.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::problem::Report;
use super::section::{Key, Section, path, read_value, section, within};
use super::value::{Size, Value};

section! {
    /// The log of transfers of files, besides what the log says of them. Relative paths count from the data directory. The
    /// files are opened anew at a reload (SIGHUP), for those who put them aside by logrotate.
    TransferLog ["transfer_log"] {
        /// A file in the form of xferlog(5), as wu-ftpd, vsftpd and ProFTPD write it.
        xferlog: Option<PathBuf> = None;
        /// A file with a JSON object for each transfer, in a line.
        json: Option<PathBuf> = None;
        /// A file that has become so large is put aside under its name with ".1", and older ones become ".2" and so on. "0"
        /// puts none aside.
        size: Size = Size(64 << 20), in Size(0)..=Size(1 << 40);
        /// How many are kept that were put aside.
        keep: u32 = 4, in 0..=1000;
        /// JSON tells also what is deleted, renamed and made.
        actions: bool = true;
        /// JSON tells also who logs in.
        logins: bool = false;
    }
}
