//! What a channel counts.

use crate::interceptor::InterceptorStats;

/// Counters of a channel since it was made; they wrap never and are never reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStats {
    /// Messages handed to the listener.
    pub messages_received: u64,
    /// Bytes of all frames received.
    pub bytes_received: u64,
    /// Messages whose listener failed.
    pub messages_failed: u64,
    /// ACK and FAIL_ACK frames sent.
    pub acks_sent: u64,
    /// FAIL_ACK frames among them.
    pub fail_acks_sent: u64,
    /// Messages from senders that were not verified members at that time.
    pub messages_from_strangers: u64,
    /// Messages left out because their sender is of another domain.
    pub messages_other_domain: u64,
    /// Messages that claim to come from ourselves, left out.
    pub messages_from_ourselves: u64,
    /// Checks by other members' failure detectors.
    pub probes_received: u64,
    /// Messages accepted by `send`, each counted once however many destinations it has.
    pub messages_sent: u64,
    /// Frames queued: one a destination.
    pub frames_queued: u64,
    /// Bytes taken by sockets, resent ones included.
    pub bytes_sent: u64,
    /// ACKs received.
    pub acks_received: u64,
    /// FAIL_ACKs received.
    pub fail_acks_received: u64,
    /// Connections on which unfinished frames were sent again.
    pub resends: u64,
    /// Destinations that acknowledged messages failed for.
    pub faults: u64,
    /// Frames without ACK that could not be handed over.
    pub frames_lost: u64,
    /// Sends refused because a queue was full.
    pub queue_full: u64,
    /// Connections opened to members.
    pub connects: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Connections refused because the table was full.
    pub accepts_refused: u64,
    /// Heartbeats sent.
    pub heartbeats_sent: u64,
    /// Heartbeats of others received and used.
    pub heartbeats_received: u64,
    /// Our own heartbeats, heard and ignored.
    pub heartbeats_own: u64,
    /// Heartbeats of another domain, ignored.
    pub heartbeats_other_domain: u64,
    /// Members announced.
    pub members_added: u64,
    /// Members announced as gone.
    pub members_disappeared: u64,
    /// Members heard of that made room for others before they were verified, or found none.
    pub candidates_dropped: u64,
    /// TCP checks started.
    pub probes_sent: u64,
    /// TCP checks that failed.
    pub probes_failed: u64,
    /// What the interceptors count.
    pub interceptors: InterceptorStats,
    /// Bad input by reason.
    pub bad: BadInputStats,
    /// Events not kept because nobody polled them.
    pub events_dropped: u64,
}

/// Bad input by reason: see [`BadInput`](super::BadInput).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BadInputStats {
    /// Bytes that are no frame.
    pub frame: u64,
    /// Frames that are no ChannelData.
    pub channel_data: u64,
    /// Unreadable member blocks in messages and heartbeats.
    pub member_block: u64,
    /// Datagrams that are neither heartbeat nor frame.
    pub datagram: u64,
    /// Frames that stayed incomplete too long.
    pub slow_frame: u64,
    /// Peers that leave their ACKs unread.
    pub unread_acks: u64,
    /// Frames refused because all incomplete ones together were too large.
    pub too_much_incomplete: u64,
    /// Messages that the listener refused.
    pub refused: u64,
    /// Connections of members wound up for a message of no use here.
    pub unwanted: u64,
    /// Messages on connections that their senders had replaced.
    pub superseded: u64,
    /// Replies that are no ACK, or that nothing waited for.
    pub reply: u64,
    /// Messages that an interceptor refused.
    pub interceptor: u64,
}

impl BadInputStats {
    /// All of them together.
    pub const fn total(&self) -> u64 {
        self.frame
            .wrapping_add(self.channel_data)
            .wrapping_add(self.member_block)
            .wrapping_add(self.datagram)
            .wrapping_add(self.slow_frame)
            .wrapping_add(self.unread_acks)
            .wrapping_add(self.too_much_incomplete)
            .wrapping_add(self.refused)
            .wrapping_add(self.unwanted)
            .wrapping_add(self.superseded)
            .wrapping_add(self.reply)
            .wrapping_add(self.interceptor)
    }
}
