//! What a client asks for a message and its recipients, in the words of the post office.

use jiff::Timestamp;
use packetboat_mail::Reach;
use packetboat_mail::queue::{Asked, BodyKind, DeliverBy, Notify, RcptAsked, Ret};
use packetboat_smtp::envelope::{self, Recipient, Sender};

/// What the client asks for a message.
pub(super) fn asked_of(sender: &Sender, now: Timestamp) -> Asked {
    Asked {
        declared: sender.size.unwrap_or(0),
        reach: match sender.target {
            envelope::Target::Mailbox => Reach::Mailbox,
            envelope::Target::Terminal => Reach::Terminal,
            envelope::Target::TerminalOrMailbox => Reach::TerminalOrMailbox,
            envelope::Target::TerminalAndMailbox => Reach::TerminalAndMailbox,
        },
        body: body_kind(sender.body),
        smtputf8: sender.smtputf8,
        ret: sender.ret.map(ret),
        envid: sender.envid.clone(),
        require_tls: sender.require_tls,
        // Its header tells.
        forgo_tls: false,
        by: sender.deliver_by.map(|by| DeliverBy {
            at: by.at(now).as_microsecond(),
            notify_only: by.late == envelope::Late::Notify,
            trace: by.trace,
        }),
        hold_until: sender.hold.map(|hold| hold.at(now).as_microsecond()),
    }
}

/// What the client asks for a recipient.
pub(crate) fn asked_for(recipient: &mut Recipient) -> RcptAsked {
    let notify = recipient.notify.map(|asked| Notify {
        success: asked.success,
        failure: asked.failure,
        delay: asked.delay,
    });
    let original = recipient.original.take().map(|original| (original.kind, original.address));
    RcptAsked { notify, original }
}

/// What the body is made of.
pub(crate) fn body_kind(body: envelope::BodyKind) -> BodyKind {
    match body {
        envelope::BodyKind::SevenBit => BodyKind::SevenBit,
        envelope::BodyKind::EightBit => BodyKind::EightBit,
        envelope::BodyKind::Binary => BodyKind::Binary,
    }
}

/// What a notice is to return of the message.
pub(crate) fn ret(ret: envelope::Ret) -> Ret {
    match ret {
        envelope::Ret::Full => Ret::Full,
        envelope::Ret::Headers => Ret::Headers,
    }
}
