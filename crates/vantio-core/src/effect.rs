//! Kinds of action.

use core::fmt;

/// How far an effect can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reversibility {
    /// Nothing changes.
    None,
    /// Confined to the phantom until a commit.
    Reversible,
    /// Another action can make up for it.
    Compensatable,
    /// Cannot be taken back: bytes that left the machine.
    Irreversible,
    /// Not known; treated as irreversible.
    Unknown,
}

macro_rules! effects {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $reversibility:ident;)*) => {
        /// A kind of action an agent can take.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Effect { $($(#[$doc])* $variant,)* }

        impl Effect {
            /// Every effect, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name that policies, ledgers and messages use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How far the effect can be taken back when a run performs it.
            pub const fn reversibility(self) -> Reversibility {
                match self { $(Self::$variant => Reversibility::$reversibility,)* }
            }

            /// The effect called `name`, or `None`.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

effects! {
    /// Open a file or directory; [`crate::Access`] says for what.
    FsOpen = "fs.open", Reversible;
    /// Remove a name that is not a directory.
    FsUnlink = "fs.unlink", Reversible;
    /// Remove an empty directory.
    FsRmdir = "fs.rmdir", Reversible;
    /// Create a directory.
    FsMkdir = "fs.mkdir", Reversible;
    /// Create a fifo or a socket node.
    FsMknod = "fs.mknod", Reversible;
    /// Rename or exchange two names.
    FsRename = "fs.rename", Reversible;
    /// Create a hard link.
    FsLink = "fs.link", Reversible;
    /// Create a symbolic link.
    FsSymlink = "fs.symlink", Reversible;
    /// Cut or extend a file by path.
    FsTruncate = "fs.truncate", Reversible;
    /// Change permission bits.
    FsChmod = "fs.chmod", Reversible;
    /// Change owner or group.
    FsChown = "fs.chown", Reversible;
    /// Change timestamps.
    FsUtime = "fs.utime", Reversible;
    /// Set or remove an extended attribute.
    FsXattr = "fs.xattr", Reversible;
    /// Read metadata: only asked where a deny hides names.
    FsStat = "fs.stat", None;
    /// Execute a program.
    ProcExec = "proc.exec", Reversible;
    /// Signal a process.
    ProcSignal = "proc.signal", Reversible;
    /// A system call that no agent may make.
    ProcSyscall = "proc.syscall", Unknown;
    /// Connect to an address, or send to one without connecting.
    NetConnect = "net.connect", Irreversible;
    /// Bind a local address.
    NetBind = "net.bind", Reversible;
    /// Accept connections.
    NetListen = "net.listen", Reversible;
    /// Resolve a name.
    NetDns = "net.dns", Irreversible;
    /// Call a tool.
    ToolCall = "tool.call", Unknown;
    /// Ask a model.
    Infer = "infer", Irreversible;
    /// Read an object of the typed heap.
    HeapRead = "heap.read", None;
    /// Write an object of the typed heap.
    HeapWrite = "heap.write", Reversible;
    /// Send a message to another agent.
    IpcSend = "ipc.send", Irreversible;
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
