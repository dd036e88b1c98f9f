//! Why a key, a note, a tree head or a proof is none.

/// Why a text is not a key, or a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty, or has a space, a `+` or a control character.
    #[error("the name of a key is not empty and has no spaces, control characters or `+`")]
    Name,
    /// The text has another shape.
    #[error("a key is `NAME+ID+KEY`, the id in 8 lower-case hexadecimal digits, the key in base64")]
    Shape,
    /// The algorithm is not one of those that are known here.
    #[error("the key's algorithm {0:#04x} is unknown")]
    Algorithm(u8),
    /// The id belongs to another name or key.
    #[error("the id is not that of this name and key")]
    Id,
    /// The bytes are no Ed25519 public key, or one that verifies anything.
    #[error("the bytes are not a sound Ed25519 public key")]
    PublicKey,
}

impl KeyError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        "E_LEDGER_KEY"
    }

    /// What to do about it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Name => "name the key as a URL without scheme, as in `example.com/log`",
            Self::Algorithm(_) => "use an Ed25519 key or a cosignature/v1 key",
            Self::Shape | Self::Id | Self::PublicKey => "copy the whole key from where it was published",
        }
    }
}

/// Why a text is not a signed note, or cannot be made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note exceeds [`super::MAX_NOTE_BYTES`].
    #[error("a note of {0} bytes is too long")]
    TooLong(usize),
    /// The bytes are not UTF-8.
    #[error("the note is not UTF-8")]
    Encoding,
    /// There is a control character.
    #[error("the note has a control character")]
    Control,
    /// The text does not end with a line feed.
    #[error("the text does not end with a line feed")]
    Text,
    /// There is no empty line between text and signatures, or no signature.
    #[error("the note has no signatures after an empty line")]
    Unsigned,
    /// A line below the text is not a signature.
    #[error("signature {0} is not an em dash, a name, and an id with a signature in base64")]
    Signature(usize),
    /// There are more signatures than [`super::MAX_SIGNATURES`].
    #[error("the note has too many signatures")]
    TooManySignatures,
}

impl NoteError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        "E_LEDGER_NOTE"
    }

    /// What to do about it.
    pub const fn help(self) -> &'static str {
        "keep a note as it was published, every line and the final line feed included"
    }
}

/// Why a note is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyNoteError {
    /// None of the known keys signed it.
    #[error("none of the known keys signed the note")]
    Unknown,
    /// A signature that names a known key is not the key's.
    #[error("the signature of `{name}` does not verify")]
    Signature {
        /// The key's name.
        name: String,
    },
    /// Two known keys have one name and one id.
    #[error("two of the known keys are called `{name}+{id:08x}`")]
    Ambiguous {
        /// Their name.
        name: String,
        /// Their id.
        id: u32,
    },
}

impl VerifyNoteError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        "E_LEDGER_SIGNATURE"
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Unknown => "give the verifier key of the log, as `vantio ledger key` prints it",
            Self::Signature { .. } => "the note was changed, or signed by another: keep it as evidence",
            Self::Ambiguous { .. } => "leave only the key that is to be trusted",
        }
    }
}

/// Why a text is not a checkpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeHeadError {
    /// There are fewer than three lines, or one is empty or without its line feed.
    #[error("a checkpoint is three or more lines, none empty, each ended by a line feed")]
    Shape,
    /// The first line is empty or has a control character.
    #[error("the origin is empty or has a control character")]
    Origin,
    /// The second line is not a decimal number without leading zeros.
    #[error("line 2 is not a number of entries")]
    Size,
    /// The third line is not 32 bytes in base64.
    #[error("line 3 is not a SHA-256 hash in base64")]
    Root,
    /// An extension line is empty or has a control character.
    #[error("an extension line is empty or has a control character")]
    Extension,
}

impl TreeHeadError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        "E_LEDGER_CHECKPOINT"
    }

    /// What to do about it.
    pub const fn help(self) -> &'static str {
        "keep a checkpoint as it was published, every line and the final line feed included"
    }
}

/// Why a text is not the proof of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseProofError {
    /// The text is cut short, or has lines that do not belong there.
    #[error("a proof is its format, an index, hashes, an empty line and a checkpoint")]
    Shape,
    /// The first line names another format.
    #[error("the first line is not `c2sp.org/tlog-proof@v1`")]
    Format,
    /// The extra data is not base64.
    #[error("the extra data is not base64")]
    Extra,
    /// The index is not a decimal number without leading zeros.
    #[error("the index is not a number")]
    Index,
    /// A hash is not 32 bytes in base64, or there are more than any tree needs.
    #[error("hash {0} is not a SHA-256 hash in base64, or one too many")]
    Hash(usize),
    /// What follows is not a signed note.
    #[error("the checkpoint is not a signed note: {0}")]
    Note(#[from] NoteError),
}

impl ParseProofError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        "E_LEDGER_PROOF"
    }

    /// What to do about it.
    pub const fn help(self) -> &'static str {
        "`vantio ledger prove` writes a proof; keep its lines as they are"
    }
}
