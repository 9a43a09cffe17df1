//! Why a desk cannot go on, and what a record may not say: the causes that a [`ProtocolError`] gives a place in the log.
//!
//! Every text is a phrase that follows a place, such as a partition and an offset.
//!
//! [`ProtocolError`]: crate::protocol::positions::ProtocolError

use crate::frame::{DecodeError, FrameError, Kind};
use crate::model::address::Topic;
use crate::model::rules::rulebook::Rulebook;
use crate::model::rules::{Campaign, RulesSeq};
use crate::protocol::behaviour::UnknownBehaviour;
use crate::protocol::genesis::GenesisError;

/// Why a desk stops at a frame: the frame contradicts the log or the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// The topic never has frames of this kind.
    #[error("a frame of kind {kind} does not belong into {topic}")]
    Kind {
        /// The frame's kind.
        kind: Kind,
        /// The topic that the desk reads.
        topic: Topic,
    },
    /// An event of a merchant without rules.
    #[error("no rules of {0} were published before its events")]
    NoRules(String),
    /// A frame or a marker names rules that are not in the library.
    #[error("rules {0} are not found")]
    Rules(RulesSeq),
    /// A marker names rules that are not in the library, or that differ there.
    #[error("rules {seq} of {merchant} are not found: publish them again")]
    Marker {
        /// The version that the marker names.
        seq: RulesSeq,
        /// The merchant that the marker names.
        merchant: String,
    },
    /// A marker names a behaviour that this build does not know.
    #[error("the marker asks for {0}")]
    Behaviour(UnknownBehaviour),
    /// A draw needs a secret that this process does not have.
    #[error(
        "campaign {campaign} of {merchant}: the secret of rules {version} is not found; restore what {secret} names"
    )]
    Secret {
        /// The campaign's id.
        campaign: String,
        /// The merchant's name.
        merchant: String,
        /// First 12 hex digits of the version.
        version: String,
        /// The reference in the rules, `file:` or `env:`.
        secret: String,
    },
    /// Codes cannot be verified without a secret that this process does not have.
    #[error("batch {batch} of {merchant}: the secret of rules {version} is not found; restore what {secret} names")]
    BatchSecret {
        /// The number of the batch.
        batch: u32,
        /// The merchant's name.
        merchant: String,
        /// First 12 hex digits of the version.
        version: String,
        /// The reference in the rules, `file:` or `env:`.
        secret: String,
    },
    /// An item cannot be decoded.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl DeskError {
    /// Whether the record is at fault. A process that lacks a secret may get it, so its partition stops and nothing is set aside.
    pub(crate) fn is_of_the_record(&self) -> bool {
        !matches!(self, Self::Secret { .. } | Self::BatchSecret { .. })
    }

    /// The error of a draw whose secret this process does not have.
    pub(crate) fn missing_secret(book: &Rulebook, campaign: &Campaign) -> Self {
        Self::Secret {
            campaign: campaign.id.clone(),
            merchant: book.rules.merchant.clone(),
            version: book.version(),
            secret: campaign.secret.clone(),
        }
    }
}

/// Why a saved stage cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It belongs to another partition.
    #[error("it is of another log, partition or number of partitions")]
    Source,
    /// Its behaviour is not known to this build.
    #[error("it is of {0}")]
    Behaviour(UnknownBehaviour),
    /// It names rules that are not in the library.
    #[error("rules {0} are not found")]
    Rules(RulesSeq),
    /// The rules in force of a merchant are not in its own list.
    #[error("it lacks the rules in force of a merchant")]
    InForce,
    /// The bytes are not a saved stage.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a record does not belong into `rules`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesRecordError {
    /// `rules` never has frames of this kind.
    #[error("a frame of kind {0} does not belong here")]
    Kind(Kind),
    /// The record reports a version that no earlier record publishes.
    #[error("the record says that markers of version {0} are placed, but that version is not published")]
    Unpublished(RulesSeq),
    /// The frame has no item.
    #[error("the frame is empty")]
    Empty,
    /// The frame has two items or more.
    #[error("the frame has more than one item")]
    Several,
    /// The first record of the topic names no log.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The item cannot be decoded.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// What a partition holds that it may not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexpected {
    /// A first record of another log.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A frame that a desk cannot apply.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// A record that does not belong into `rules`.
    #[error(transparent)]
    Rules(#[from] RulesRecordError),
    /// A frame in `facts` that no desk sends there.
    #[error("a frame of kind {0} cannot be in facts")]
    NoFacts(Kind),
}
