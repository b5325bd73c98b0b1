//! Mail on its way to other servers: what is known of it, when it is tried, and who hears of it.

mod envelope;
pub mod schedule;
mod settings;

pub use envelope::{
    Asked, Attempt, BodyKind, DeliverBy, Envelope, Notify, Rcpt, RcptAsked, Ret, Stage, TlsSeen, Unreadable,
    Verdict, Verified,
};
pub use settings::Settings;
