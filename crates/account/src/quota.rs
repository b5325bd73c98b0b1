//! How much an account may keep.

use packetboat_store::{AccountId, AccountRow, Require};
use serde::{Deserialize, Serialize};

/// Limits of an account; what is not set is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Octets of all its messages together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub octets: Option<u64>,
    /// How many messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
}

/// What of a quota is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Octets of all messages.
    pub octets: u64,
    /// How many messages.
    pub messages: u64,
    /// The limits.
    pub quota: Quota,
}

impl Usage {
    /// Octets that still fit, 0 when there is no room for one more message; `None`: no limit.
    pub fn room(&self) -> Option<u64> {
        if self.quota.messages.is_some_and(|limit| self.messages >= limit) {
            return Some(0);
        }
        self.quota.octets.map(|limit| limit.saturating_sub(self.octets))
    }
}

impl Quota {
    /// The preconditions with which a transaction that adds so much cannot overrun the quota, even when others add messages
    /// at the same moment.
    pub fn preconditions(
        &self,
        account: AccountId,
        octets: u64,
        messages: u64,
    ) -> impl Iterator<Item = Require> + use<> {
        let room = self.octets.map(|limit| Require::Room { account, octets, limit });
        let places = self.messages.map(|limit| Require::Places { account, messages, limit });
        room.into_iter().chain(places)
    }
}

/// Whether one more message of `incoming` octets would be too much.
pub fn over_quota(row: &AccountRow, quota: &Quota, incoming: u64) -> bool {
    let more_than = |used: u64, incoming: u64, limit: Option<u64>| {
        limit.is_some_and(|limit| used.checked_add(incoming).is_none_or(|sum| sum > limit))
    };
    more_than(row.used_octets, incoming, quota.octets) || more_than(row.messages, 1, quota.messages)
}

#[cfg(test)]
mod tests {
    use packetboat_store::ModSeq;

    use super::*;

    #[test]
    fn a_message_fits_up_to_the_last_octet() {
        for (octets, messages, incoming, over) in [
            (None, None, u64::MAX, false),
            (Some(1000), None, 400, false),
            (Some(1000), None, 401, true),
            (Some(1000), None, u64::MAX, true),
            (Some(500), None, 0, true),
            (None, Some(4), u64::MAX, false),
            (None, Some(3), 0, true),
            (Some(1000), Some(3), 1, true),
        ] {
            let row = AccountRow { id: AccountId(1), modseq: ModSeq(1), used_octets: 600, messages: 3 };
            let quota = Quota { octets, messages };
            assert_eq!(over_quota(&row, &quota, incoming), over, "{quota:?} {incoming}");
        }
    }

    #[test]
    fn room_is_what_is_left() {
        for (octets, messages, room) in [
            (None, None, None),
            (Some(1000), None, Some(400)),
            (Some(500), None, Some(0)),
            (None, Some(3), Some(0)),
        ] {
            let usage = Usage { octets: 600, messages: 3, quota: Quota { octets, messages } };
            assert_eq!(usage.room(), room);
        }
    }
}
