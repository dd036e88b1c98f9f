//! The list of hazards: what a person should see before it reaches the host.
//!
//! To add one, add a row here and a case to `tests/changes_hazards.rs`, which
//! fails for a row without one.
//!
//! A pattern is read from the end of a path: `.git/hooks/**` is whatever lies
//! below a folder `hooks` of any folder `.git`. One that begins with `/` is read
//! from the root. `*` is any part of a name, `**` any number of names (at least
//! one at the end). Names are compared as the most forgiving file system
//! would (see `names.rs`).

use super::{
    access::lets_others_write,
    predicates::{
        changes_other_names, has_capabilities, has_deceptive_name, has_hidden_text, has_overlay_attributes,
        is_device, is_loose_git_config, is_policy, is_set_id, is_socket, leaves_workspace, shadows_program,
    },
    says::{
        changes_attributes, changes_composer_scripts, changes_editor_settings, changes_git_config,
        changes_package_scripts,
    },
};

/// A hazard.
pub(super) struct Row {
    /// Its stable name.
    pub(super) name: &'static str,
    /// What it is, in a few words that a person understands.
    pub(super) reason: &'static str,
    /// Where it is looked for; everywhere when there is no pattern.
    pub(super) paths: &'static [&'static str],
    /// Where it is not.
    pub(super) except: &'static [&'static str],
    /// What makes it one.
    pub(super) test: Test,
}

/// What makes a change at a place a hazard.
pub(super) enum Test {
    /// That it is there.
    Place,
    /// What the file says, against what the host's says: `None` when that cannot
    /// be told, which counts as a hazard.
    Says(Says),
    /// Something else about it.
    Is(fn(&super::Subject<'_>) -> bool),
}

/// Compares what a file says with what the host's says.
pub(super) type Says = fn(after: &[u8], before: &[u8]) -> Option<bool>;

const fn place(name: &'static str, reason: &'static str, paths: &'static [&'static str]) -> Row {
    Row { name, reason, paths, except: &[], test: Test::Place }
}

const fn says(name: &'static str, reason: &'static str, paths: &'static [&'static str], test: Says) -> Row {
    Row { name, reason, paths, except: &[], test: Test::Says(test) }
}

const fn is(name: &'static str, reason: &'static str, test: fn(&super::Subject<'_>) -> bool) -> Row {
    Row { name, reason, paths: &[], except: &[], test: Test::Is(test) }
}

/// Every hazard.
pub(super) const ROWS: &[Row] = &[
    is("policy", "decides what the next run may do (policy)", is_policy),
    is("setuid", "runs as its owner or group (setuid or setgid)", is_set_id),
    is("capabilities", "runs with file capabilities", has_capabilities),
    is("device", "device node", is_device),
    is("socket", "socket", is_socket),
    is("overlay-attributes", "carries attributes that mean something to an overlay", has_overlay_attributes),
    is(
        "others-write",
        "somebody may write there who could not (mode, owner or access list)",
        lets_others_write,
    ),
    is("other-names", "has another name on the host, which changes with it (hard link)", changes_other_names),
    is("leaving-symlink", "symlink that leads out of the workspace", leaves_workspace),
    is("shadows-program", "would be started in place of a program, by its name (PATH)", shadows_program),
    is("deceptive-name", "its name has invisible or direction-changing characters", has_deceptive_name),
    is("hidden-text", "has invisible or direction-changing characters in its text", has_hidden_text),
    Row {
        name: "git-hook",
        reason: "git runs it (hook)",
        paths: GIT_HOOKS,
        // Git runs no sample, and every clone brings a dozen.
        except: &["*.sample"],
        test: Test::Place,
    },
    place("git-directory", "takes the place of git's own folder, or points git at another", GIT_POINTERS),
    says(
        "git-config",
        "git configuration that can run a program, or that is not known to be harmless",
        GIT_CONFIGS,
        changes_git_config,
    ),
    Row {
        name: "git-config",
        reason: "git configuration that can run a program, or that is not known to be harmless",
        paths: &["config", "config.worktree"],
        except: &[".git/**", "*.git/config"],
        test: Test::Is(is_loose_git_config),
    },
    Row {
        name: "git-bare",
        reason: "makes a git repository of its folder, whose configuration git obeys",
        paths: &["HEAD"],
        except: &[".git/**"],
        test: Test::Place,
    },
    says(
        "git-attributes",
        "git attributes that name a filter, diff or merge program",
        &[
            ".gitattributes",
            ".git/**/attributes",
            "*.git/info/attributes",
            ".config/git/attributes",
            "gitattributes",
        ],
        changes_attributes,
    ),
    place("git-submodule", "names other repositories that git fetches (submodules)", &[".gitmodules"]),
    place("git-unfinished", "git goes on with it, and it can name commands to run (rebase)", GIT_UNFINISHED),
    place("hook-manager", "names commands that run on git's hooks", HOOK_MANAGERS),
    place("shell-start", "a shell runs it when it starts or ends", SHELL_START),
    place("envrc", "a shell runs it, or takes variables from it, when somebody enters the folder", ENTERED),
    place("session-start", "runs when somebody logs in, or at set times", SESSION_START),
    place("system", "the system runs it, or grants privileges by it", SYSTEM),
    place("credentials", "lets others in, or names programs that give out credentials", CREDENTIALS),
    place("editor-task", "an editor or debugger runs it, or obeys it", EDITORS),
    says(
        "editor-settings",
        "editor settings that can name programs to run",
        &[".vscode/settings.json"],
        changes_editor_settings,
    ),
    place("tool-start", "a program runs it, or obeys it, when it starts", TOOL_START),
    Row {
        name: "tool-start",
        reason: "a program runs it, or obeys it, when it starts",
        paths: RUBY_LIBRARIES,
        // What is installed there runs where somebody asks for it.
        except: &["lib/ruby/gems/**"],
        test: Test::Place,
    },
    place("agent-config", "an agent obeys it: it can start programs and lift limits", AGENTS),
    place("agent-instructions", "tells agents what to do", AGENT_INSTRUCTIONS),
    place("ci", "a CI service runs it, with the repository's secrets", CI),
    says("package-script", "scripts that a package manager runs", &["package.json"], changes_package_scripts),
    says(
        "package-script",
        "scripts that a package manager runs",
        &["composer.json"],
        changes_composer_scripts,
    ),
    place(
        "package-manager",
        "a package manager or build tool obeys it, and it can name programs",
        PACKAGE_MANAGERS,
    ),
    place("container", "runs commands when the folder is opened in a container", CONTAINERS),
    place("python-start", "Python runs it, or is led by it, whenever it starts", PYTHON_START),
    Row {
        name: "python-start",
        reason: "Python runs it, or is led by it, whenever it starts",
        paths: PYTHON_LIBRARIES,
        // What is installed there runs where somebody asks for it.
        except: &["lib/python*/site-packages/**"],
        test: Test::Place,
    },
];

#[rustfmt::skip]
const GIT_HOOKS: &[&str] = &[
    ".git/hooks", ".git/hooks/**", ".git/**/hooks/**", "*.git/hooks/**", ".git-templates/**",
    ".git-template/**", "git-core/templates/**", "applypatch-msg", "commit-msg", "fsmonitor-watchman",
    "p4-*", "post-applypatch", "post-checkout", "post-commit", "post-index-change", "post-merge",
    "post-receive", "post-rewrite", "post-update", "pre-applypatch", "pre-auto-gc", "pre-commit",
    "pre-merge-commit", "pre-push", "pre-rebase", "pre-receive", "prepare-commit-msg", "proc-receive",
    "push-to-checkout", "reference-transaction", "sendemail-validate", "*hooks/update",
];

#[rustfmt::skip]
const GIT_POINTERS: &[&str] = &[
    ".git", ".git/commondir", ".git/**/commondir", ".git/**/gitdir", ".git/**/.git",
    ".git/objects/info/alternates", ".git/**/objects/info/alternates",
];

#[rustfmt::skip]
const GIT_CONFIGS: &[&str] = &[
    ".git/config", ".git/config.worktree", ".git/**/config", ".git/**/config.worktree", "*.git/config",
    ".gitconfig", "*.gitconfig", ".gitconfig.*", ".gitconfig-*", ".config/git/config", "/etc/gitconfig",
];

#[rustfmt::skip]
const GIT_UNFINISHED: &[&str] = &[
    ".git/**/rebase-merge/**", ".git/rebase-merge/**", ".git/rebase-apply/**", ".git/**/rebase-apply/**",
    ".git/sequencer/**", ".git/**/sequencer/**", ".git/BISECT_RUN",
];

#[rustfmt::skip]
const HOOK_MANAGERS: &[&str] = &[
    ".husky/**", ".githooks/**", ".pre-commit-config.yaml", ".pre-commit-config.yml",
    ".pre-commit-hooks.yaml", "lefthook.yml", "lefthook.yaml", "lefthook.toml", "lefthook.json",
    ".lefthook.*", ".lefthook/**", "lefthook-local.*", ".lintstagedrc", ".lintstagedrc.*",
    "lint-staged.config.*", ".simple-git-hooks.*", ".overcommit.yml", ".overcommit/**", ".huskyrc",
    ".huskyrc.*",
];

#[rustfmt::skip]
const SHELL_START: &[&str] = &[
    ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".bashrc.d/**", ".profile",
    ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".zshrc.d/**", ".oh-my-zsh/**", ".kshrc",
    ".mkshrc", ".shrc", ".shinit", ".cshrc", ".tcshrc", ".login", ".logout", ".config/fish/**",
    ".config/nushell/**", ".config/xonsh/**", ".xonshrc", ".config/powershell/**", ".config/starship.toml",
    ".inputrc", ".env.sh", "*.zwc", ".local/share/fish/vendor_*/**", ".bash_completion",
    ".config/bash_completion", ".local/share/bash-completion/**", ".zimrc", ".zprezto/**", ".zpreztorc",
    ".zinit/**", ".antigenrc", ".bash_it/**", ".p10k.zsh", ".fzf.bash", ".fzf.zsh", ".bash_functions",
    ".aliases", ".exports", ".zsh_aliases", ".nvm/nvm.sh", ".sdkman/bin/sdkman-init.sh", ".rvm/scripts/rvm",
    ".asdf/asdf.sh",
    ".cargo/env.*", ".deno/env", ".deno/env.*", ".local/bin/env", ".local/bin/env.*", ".bun/_bun",
    ".rye/env", ".ghcup/env", ".elan/env", ".opam/opam-init/**", ".atuin/bin/env", ".wasmer/wasmer.sh",
    ".wasmedge/env", ".local/share/swiftly/env.sh", ".nvm/bash_completion", ".sdkman/src/**",
    ".sdkman/ext/**", ".sdkman/etc/**", ".sdkman/contrib/**", ".rvm/scripts/**", ".gvm/scripts/**",
    ".asdf/asdf.fish", ".asdf/completions/**", ".pyenv/completions/**", ".rbenv/completions/**",
    ".iterm2_shell_integration.*", ".bash-preexec.sh", ".git-prompt.sh", ".git-completion.*",
    ".oh-my-bash/**", ".zplug/**", ".antigen/**", ".antidote/**", ".cache/antidote/**",
    ".local/share/zinit/**", ".local/share/sheldon/**", ".config/sheldon/**", ".local/share/omf/**",
    ".config/omf/**", ".zcompdump*", ".cache/p10k-*", ".cache/gitstatus/**",
    ".local/share/nushell/vendor/**",
];

#[rustfmt::skip]
const ENTERED: &[&str] = &[
    ".envrc", ".autoenv", ".autoenv.zsh", "mise.toml", ".mise.toml", "mise.*.toml", ".mise.*.toml",
    "mise/**", ".mise/**", ".config/mise/**", ".config/mise.toml", ".config/direnv/**", ".direnvrc",
    ".rtx.toml", ".tool-versions", ".asdfrc", "devbox.json", "shell.nix", "devenv.nix", "devenv.yaml",
    "flake.nix", ".flox/env/manifest.toml", ".sdkmanrc",
];

#[rustfmt::skip]
const SESSION_START: &[&str] = &[
    ".config/autostart/**", ".config/systemd/**", ".local/share/systemd/**", ".local/share/dbus-1/**",
    ".local/share/applications/**", ".config/environment.d/**", ".config/plasma-workspace/**",
    ".config/autostart-scripts/**", ".config/i3/**", ".config/sway/**", ".config/hypr/**", ".xinitrc",
    ".xserverrc", ".xprofile", ".xsession", ".xsessionrc", ".pam_environment", ".dmrc", ".forward",
    ".procmailrc", "/var/spool/cron/**", "/var/spool/at/**", "Library/LaunchAgents/**",
    ".config/awesome/**", ".config/bspwm/**", ".config/sxhkd/**", ".config/openbox/**", ".config/niri/**",
    ".config/river/**", ".config/waybar/**", ".config/polybar/**", ".xbindkeysrc",
    ".config/qtile/**", ".config/herbstluftwm/**", ".config/xmonad/**", ".xmonad/**", ".cache/xmonad/**",
    ".local/share/xmonad/**", ".fluxbox/**", ".icewm/**", ".jwmrc", ".config/labwc/**",
    ".config/wayfire.ini", ".config/leftwm/**", ".stumpwmrc", ".stumpwm.d/**", ".config/lxsession/**",
    ".config/xfce4/**", ".config/dunst/**", ".config/mako/**", ".config/eww/**", ".config/conky/**",
    ".conkyrc", ".config/kanshi/**", ".config/swayidle/**", ".config/autorandr/**",
    ".config/redshift/hooks/**", ".config/pipewire/**", ".config/wireplumber/**",
    ".local/share/gnome-shell/extensions/**", ".local/share/cinnamon/applets/**",
    ".local/share/cinnamon/desklets/**", ".local/share/cinnamon/extensions/**", ".local/share/plasma/**",
    ".local/share/kwin/**", ".local/share/nautilus-python/**", ".local/share/nautilus/scripts/**",
    ".local/share/nemo-python/**", ".local/share/nemo/actions/**", ".local/share/nemo/scripts/**",
    ".local/share/caja-python/**", ".local/share/file-manager/actions/**",
    ".local/share/kio/servicemenus/**",
];

#[rustfmt::skip]
const SYSTEM: &[&str] = &[
    "/etc/profile", "/etc/profile.d/**", "/etc/bash*", "/etc/bash*/**", "/etc/zsh*", "/etc/zsh/**",
    "/etc/fish/**", "/etc/environment", "/etc/cron*", "/etc/cron*/**", "/etc/anacrontab", "/etc/systemd/**",
    "/etc/init.d/**", "/etc/rc*", "/etc/rc*/**", "/etc/inittab", "/etc/ld.so*", "/etc/ld.so*/**",
    "/etc/sudoers*", "/etc/sudoers*/**", "/etc/doas.conf", "/etc/pam*", "/etc/pam*/**", "/etc/passwd*",
    "/etc/shadow*", "/etc/group*", "/etc/gshadow*", "/etc/subuid*", "/etc/subgid*", "/etc/security/**",
    "/etc/polkit*/**", "/etc/dbus*/**", "/etc/udev/**", "/etc/modprobe.d/**", "/etc/modules*",
    "/etc/modules*/**", "/etc/apt/**", "/etc/ssh/**", "/etc/xdg/autostart/**", "/etc/X11/**",
    "/etc/NetworkManager/**", "/etc/network/**", "/etc/hosts", "/etc/nsswitch.conf", "/usr/lib/systemd/**",
    "/lib/systemd/**", "/usr/lib/udev/**", "/boot/**", "/usr/local/lib/systemd/**", "/etc/update-motd.d/**",
    "/etc/logrotate*", "/etc/logrotate.d/**", "/etc/default/**", "/etc/sysctl*", "/etc/sysctl.d/**",
    "/usr/lib/sysctl.d/**", "/etc/tmpfiles.d/**", "/usr/lib/tmpfiles.d/**", "/usr/local/lib/tmpfiles.d/**",
    "/etc/sysusers.d/**", "/usr/lib/sysusers.d/**", "/etc/binfmt.d/**", "/usr/lib/binfmt.d/**",
    "/usr/lib/modprobe.d/**", "/etc/kernel/**", "/etc/dhcp*", "/etc/dhcp*/**", "/etc/ppp/**",
    "/etc/acpi/**", "/etc/alternatives/**", "/etc/initramfs-tools/**", "/etc/grub.d/**", "/etc/fstab",
    "/etc/crypttab", "/etc/inputrc", "/etc/xinetd.d/**", "/etc/inetd.conf", "/etc/docker/daemon.json",
    "/etc/libvirt/hooks/**", "/etc/sudo.conf", "/etc/kubernetes/manifests/**",
    "/etc/ca-certificates/update.d/**", "/usr/lib/*-linux-gnu/security/pam_*.so",
    "/usr/lib/security/pam_*.so", "/usr/lib64/security/pam_*.so", "/usr/share/dbus-1/system-services/**",
    "/usr/share/polkit-1/**",
];

#[rustfmt::skip]
const CREDENTIALS: &[&str] = &[
    ".ssh/**", ".gnupg/**", ".aws/config", ".aws/credentials", ".kube/config", ".docker/config.json",
    ".config/gh/**", ".config/gcloud/**", ".git-credentials", ".netrc", "_netrc", ".pgpass", ".rhosts",
    ".shosts", ".k5login",
];

#[rustfmt::skip]
const EDITORS: &[&str] = &[
    ".vscode/tasks.json", ".vscode/launch.json", ".vscode/mcp.json", "*.code-workspace", ".idea/**",
    ".run/**", ".fleet/**", ".zed/**", ".nova/**", "*.sublime-project", "*.sublime-build", ".helix/**",
    ".config/helix/**", ".nvim.lua", ".nvimrc", ".exrc", ".vimrc", "_vimrc", ".gvimrc", ".vim/**",
    ".config/nvim/**", ".config/vim/**", ".vimrc.local", ".local.vimrc", ".lvimrc", ".emacs", ".emacs.el",
    ".emacs.d/**", ".config/emacs/**", ".dir-locals.el", ".dir-locals-2.el", ".spacemacs", ".doom.d/**",
    ".kakrc", ".nanorc", ".config/Code/**/settings.json", ".config/Code/**/tasks.json",
    ".config/Code/**/keybindings.json", ".vs/**", ".netbeans/**", ".gdbinit", ".lldbinit", ".lldbinit-*",
    ".radare2rc", ".config/VSCodium/**/settings.json", ".config/VSCodium/**/tasks.json",
    ".config/VSCodium/**/keybindings.json", ".config/Cursor/**/settings.json",
    ".config/Cursor/**/tasks.json", ".config/Cursor/**/keybindings.json", ".vscode/extensions/**",
    ".vscode-server/extensions/**", ".vscode/c_cpp_properties.json", ".vscode/cmake-kits.json",
    ".theia/tasks.json", "hie.yaml", ".ycm_extra_conf.py", ".vimspector.json",
    ".bsp/*.json", ".local/share/nvim/site/**", ".local/share/nvim/lazy/**", ".local/share/nvim/mason/**",
    ".local/share/nvim/plugged/**", ".cache/nvim/luac/**", ".config/lvim/**", ".local/share/lunarvim/**",
    ".config/doom/**", ".config/micro/**", ".config/kak/**", ".config/kak-lsp/**", ".config/zed/**",
    ".local/share/zed/extensions/**", ".config/sublime-text/**", ".config/sublime-text-3/**",
    ".config/JetBrains/**", ".local/share/JetBrains/**", ".local/share/gedit/plugins/**",
    ".vscode-insiders/extensions/**", ".vscode-oss/extensions/**", ".local/share/code-server/extensions/**",
    ".local/share/code-server/User/**", ".config/gdb/**", ".gdbearlyinit",
];

/// Keys of editor settings that change how things look, and no more. Any
/// other that changes is a hazard.
#[rustfmt::skip]
pub(super) const HARMLESS_EDITOR_SETTINGS: &[&str] = &[
    "breadcrumbs.", "cSpell.words", "cSpell.ignoreWords", "cSpell.flagWords", "cSpell.userWords",
    "cSpell.ignorePaths", "cSpell.enabled", "diffEditor.", "editor.bracketPairColorization.",
    "editor.cursor", "editor.detectIndentation", "editor.find.", "editor.folding", "editor.font",
    "editor.guides.", "editor.insertSpaces", "editor.lineNumbers", "editor.minimap.", "editor.render",
    "editor.rulers", "editor.tabSize", "editor.wordWrap", "explorer.", "files.encoding", "files.eol",
    "files.exclude", "files.insertFinalNewline", "files.trim", "files.watcherExclude", "outline.",
    "search.", "workbench.color", "workbench.editor.", "workbench.iconTheme", "workbench.tree.", "zenMode.",
];

#[rustfmt::skip]
const TOOL_START: &[&str] = &[
    ".tmux.conf", ".config/tmux/**", ".screenrc", ".psqlrc", ".sqliterc", ".my.cnf", ".mongorc.js",
    ".mongoshrc.js", ".irbrc", ".pryrc", ".pdbrc", ".pdbrc.py", ".pythonrc", ".pythonrc.py",
    ".pythonstartup", ".ipython/**", ".jupyter/**", ".Rprofile", "Rprofile.site", ".Renviron", ".octaverc",
    ".ghci", ".sbclrc", ".guile", ".curlrc", "_curlrc", ".wgetrc", ".mailcap", ".lesskey", ".lessfilter",
    ".muttrc", ".config/mpv/**", ".hgrc", ".hg/hgrc", ".hg/**/hgrc", ".subversion/**", ".jjconfig.toml",
    ".jj/**", ".config/jj/**", ".terraformrc", ".config/alacritty/**", ".config/kitty/**", ".wezterm.lua",
    ".config/wezterm/**", ".perldb", ".perltidyrc", ".iex.exs", ".ocamlinit", ".config/ocaml/**",
    ".config/utop/**", ".tmux.conf.local", ".tmux/plugins/**", ".mutt/muttrc", ".julia/config/startup.jl",
    ".erlang", ".latexmkrc", "latexmkrc", ".tigrc", ".msmtprc", ".mbsyncrc", ".config/bat/config",
    ".config/ghostty/config", ".config/foot/foot.ini", ".pylintrc", "ansible.cfg", ".docker/cli-plugins/**",
    ".helm/plugins/**", ".local/share/helm/plugins/**",
    ".nvm/nvm-exec", ".pyenv/libexec/**", ".pyenv/pyenv.d/**", ".pyenv/plugins/**", ".rbenv/libexec/**",
    ".rbenv/rbenv.d/**", ".rbenv/plugins/**", ".asdf/lib/**", ".asdf/plugins/**", ".sdkman/libexec/**",
    ".rustup/settings.toml", ".rustup/toolchains/*/bin/**", ".rustup/toolchains/*/lib/**",
    ".rustup/toolchains/*/libexec/**", ".dotnet/dotnet", ".dotnet/host/**", ".dotnet/sdk/**",
    ".dotnet/shared/**", ".dotnet/tools/**", ".nvm/versions/node/*/lib/node_modules/npm/**",
    ".nvm/versions/node/*/lib/node_modules/corepack/**", ".local/share/uv/tools/**",
    ".local/share/pipx/venvs/**", ".local/pipx/venvs/**", ".local/share/pypoetry/venv/**",
    ".config/yt-dlp/**", ".config/yt-dlp.conf", ".config/zellij/**", ".config/lf/**", ".config/lazygit/**",
    ".config/ranger/**", ".config/yazi/**", ".config/nnn/**", ".config/vifm/**", ".vifm/**",
    ".config/broot/**", ".config/aerc/**", ".config/mutt/**", ".config/neomutt/**", ".neomuttrc",
    ".config/newsboat/**", ".newsboat/config", ".config/weechat/**", ".weechat/**", ".irssi/**",
    ".config/qutebrowser/**", ".config/k9s/**", ".krew/store/**", ".local/share/gh/extensions/**",
    ".ripgreprc", ".config/curlrc", ".config/hg/hgrc", ".config/tig/config", ".config/msmtp/config",
    ".config/octave/octaverc", ".config/irb/irbrc", ".config/pry/pryrc", ".ghc/ghci.conf",
    ".config/ptpython/**", ".ansible.cfg", ".ansible/plugins/**", ".terraform.d/**", ".vagrant.d/**",
];

/// The standard libraries of Rubies that are installed for one user.
#[rustfmt::skip]
const RUBY_LIBRARIES: &[&str] = &[
    ".rbenv/versions/*/lib/ruby/**", ".rvm/rubies/*/lib/ruby/**", ".asdf/installs/ruby/*/lib/ruby/**",
];

#[rustfmt::skip]
const AGENTS: &[&str] = &[
    ".mcp.json", "mcp.json", "mcp_config.json", ".claude/settings*.json", ".claude/hooks/**",
    ".claude/commands/**", ".claude/agents/**", ".claude/skills/**", ".claude/plugins/**", ".claude.json",
    ".codex/config.toml", ".codex/hooks*", ".codex/rules/**", ".cursor/**", ".gemini/settings.json",
    ".gemini/extensions/**", ".gemini/commands/**", ".gemini/.env", ".copilot/mcp-config.json",
    ".copilot/config.json", ".qwen/settings.json", ".aider.conf.yml", ".continue/**", ".windsurf/**",
    ".roo/**", ".kilocode/**", ".amazonq/**", ".kiro/**", ".opencode/**", "opencode.json", "opencode.jsonc",
    ".config/opencode/**", ".goose/**", ".config/goose/**", ".pi/**", "crush.json", ".crush.json",
    ".claude-plugin/**",
    ".agents/skills/**", ".codex/skills/**", ".codex/.env", ".gemini/skills/**", ".gemini/policies/**",
    ".qwen/.env", ".qwen/agents/**", ".qwen/commands/**", ".qwen/extensions/**", ".qwen/skills/**",
    ".github/agents/**", ".github/hooks/**", ".github/skills/**", ".copilot/agents/**",
    ".copilot/skills/**", ".claude/statusline*", ".claude/local/**", ".local/share/claude/versions/**",
    ".local/share/cursor-agent/versions/**", ".cache/opencode/node_modules/**", ".cache/opencode/bin/**",
    ".factory/**", ".amp/**", ".config/amp/**", ".openhands/**", ".roomodes", ".kilocodemodes",
    "claude_desktop_config.json",
];

#[rustfmt::skip]
const AGENT_INSTRUCTIONS: &[&str] = &[
    "AGENTS.md", "CLAUDE.md", "CLAUDE.local.md", "GEMINI.md", ".cursorrules", ".windsurfrules", ".clinerules",
    ".clinerules/**", ".github/copilot-instructions.md", ".codex/prompts/**",
    "AGENTS.override.md", "AGENT.md", "QWEN.md", "WARP.md", "replit.md", ".rules", ".goosehints",
    ".roorules", ".roorules-*", ".claude/rules/**", ".claude/output-styles/**", ".codex/instructions.md",
    ".gemini/system.md", ".copilot/copilot-instructions.md", ".github/instructions/**",
    ".github/prompts/**", ".github/chatmodes/**", ".junie/guidelines.md", ".aiassistant/rules/**",
    ".augment/rules/**", ".augment-guidelines", ".trae/rules/**", ".qoder/rules/**",
    ".tabnine/guidelines/**", ".codeium/windsurf/memories/**",
];

#[rustfmt::skip]
const CI: &[&str] = &[
    ".github/workflows/**", ".github/actions/**", ".github/dependabot.yml", ".github/CODEOWNERS",
    "CODEOWNERS", "action.yml", "action.yaml", ".gitea/workflows/**", ".forgejo/workflows/**",
    ".gitlab-ci.yml", ".gitlab-ci.yaml", "*.gitlab-ci.yml", ".gitlab-ci/**", ".gitlab/**", "Jenkinsfile",
    "Jenkinsfile.*", "*.Jenkinsfile", ".jenkins/**", ".circleci/**", ".travis.yml", "azure-pipelines*.yml",
    "azure-pipelines*.yaml", ".azure-pipelines/**", ".azuredevops/**", "bitbucket-pipelines.yml",
    ".drone.*", ".woodpecker.*", ".woodpecker/**", ".buildkite/**", "appveyor.yml", ".appveyor.yml",
    ".cirrus.yml", ".cirrus.star", ".semaphore/**", ".teamcity/**", ".tekton/**", ".builds/**",
    ".build.yml", ".ci/**", "cloudbuild.yaml", "cloudbuild.yml", "cloudbuild.json", "buildspec.yml",
    "buildspec.yaml", "codefresh.yml", "wercker.yml", "netlify.toml", "vercel.json",
];

#[rustfmt::skip]
const PACKAGE_MANAGERS: &[&str] = &[
    ".npmrc", "npmrc", ".yarnrc", ".yarnrc.yml", ".yarn/releases/**", ".yarn/plugins/**", ".pnpmfile.*",
    "pnpmfile.js", ".pnp.cjs", ".pnp.js", ".pnp.loader.mjs", "pnpm-workspace.yaml", "bunfig.toml",
    ".bunfig.toml", ".volta/**", "binding.gyp", "pip.conf", "pip.ini", ".pip/**", ".config/pip/**",
    "uv.toml", ".config/uv/**", ".pypirc", ".pydistutils.cfg", ".condarc", "condarc", ".config/pypoetry/**",
    "poetry.toml", ".gemrc", ".bundle/**", ".cargo/config", ".cargo/config.toml", ".cargo/credentials*",
    ".cargo/env", "rust-toolchain", "rust-toolchain.toml", "go.env", ".config/go/env", ".mvn/**", ".m2/**",
    ".gradle/init.d/**", ".gradle/init.gradle*", ".gradle/gradle.properties", "gradle/wrapper/**",
    "gradle.properties", ".sbtopts", ".jvmopts", ".bazelrc", "*.bazelrc", ".bazeliskrc", ".bazelversion",
    ".buckconfig", ".buckconfig.local", ".config/nix/**", ".nuget/**", "nuget.config", "Directory.Build.*",
    ".cpanm/**", ".config/containers/**",
    ".sbt/*/*.sbt", ".sbt/*/*.scala", ".sbt/*/plugins/*.sbt", ".sbt/*/plugins/*.scala",
    ".sbt/boot/**/*.jar", ".sbt/launchers/**", ".cache/sbt/boot/sbt-launch/**", ".gradle/wrapper/dists/**",
    ".gradle/jdks/**", ".cache/bazelisk/**", ".cache/bazel/*/install/**", ".cache/pre-commit/**",
    ".cache/prek/**", ".npm/_npx/**", ".cache/pnpm/dlx/**", ".cache/node/corepack/**", ".config/pnpm/rc",
    ".gem/ruby/*/plugins/**", ".local/share/gem/ruby/*/plugins/**", ".config/gem/gemrc", ".cabal/config",
    ".config/cabal/config", ".stack/config.yaml", ".stack/programs/**", ".lein/**", ".clojure/deps.edn",
    ".config/clojure/deps.edn", ".composer/**", ".config/composer/**", ".mix/archives/**",
    ".mix/escripts/**", ".conan2/extensions/**", ".conan2/profiles/**", ".ccache/ccache.conf",
    ".config/ccache/ccache.conf", ".rpmmacros", ".devscripts", ".sbuildrc", ".config/sbuild/config.pl",
    ".pbuilderrc", ".makepkg.conf", ".config/pacman/makepkg.conf",
];

#[rustfmt::skip]
const CONTAINERS: &[&str] = &[
    ".devcontainer.json", ".devcontainer/**", ".gitpod.yml", ".gitpod.Dockerfile", ".idx/**", ".replit",
    "devfile.yaml", ".devfile.yaml",
];

#[rustfmt::skip]
const PYTHON_START: &[&str] = &[
    "*.pth", "*._pth", "pyvenv.cfg", "sitecustomize.*", "usercustomize.*", "sitecustomize/**",
    "usercustomize/**",
];

/// The standard libraries, and the interpreters' own, of Pythons that are installed for one user.
#[rustfmt::skip]
const PYTHON_LIBRARIES: &[&str] = &[
    ".pyenv/versions/*/lib/python*/**", ".pyenv/versions/*/lib/libpython*",
    ".asdf/installs/python/*/lib/python*/**", ".asdf/installs/python/*/lib/libpython*",
    ".local/share/uv/python/*/lib/python*/**", ".local/share/uv/python/*/lib/libpython*",
];

/// Git's configuration that names no program, no file to read and no place to
/// send anything. Any other key that changes is a hazard: git learns new ones.
/// A `*` stands for the part between the first and the last dot.
#[rustfmt::skip]
pub(super) const HARMLESS_GIT_KEYS: &[&str] = &[
    "branch.*.description", "branch.*.merge", "branch.*.rebase", "color.ui",
    "commit.verbose", "core.abbrev", "core.autocrlf", "core.bare", "core.eol", "core.filemode",
    "core.ignorecase", "core.logallrefupdates", "core.precomposeunicode", "core.quotepath",
    "core.repositoryformatversion", "core.safecrlf", "core.symlinks", "core.whitespace", "diff.algorithm",
    "diff.colormoved", "diff.renames", "extensions.compatobjectformat", "extensions.objectformat",
    "extensions.refstorage", "fetch.prune", "help.autocorrect", "init.defaultbranch", "merge.conflictstyle",
    "merge.ff", "pull.ff", "pull.rebase", "push.autosetupremote", "push.default", "rebase.autosquash",
    "rebase.autostash", "remote.*.fetch", "remote.*.prune", "remote.*.tagopt", "rerere.enabled",
    "status.short", "user.email", "user.name",
];

/// Keys of a `package.json` that name what is run: by the package manager, or
/// on git's hooks by a tool that reads them there.
#[rustfmt::skip]
pub(super) const SCRIPT_KEYS: &[&str] = &[
    "scripts", "simple-git-hooks", "husky", "gitHooks", "git-hooks", "pre-commit", "precommit", "pre-push",
    "prepush", "lint-staged", "config", "pnpm", "gypfile", "packageManager",
];

/// Scripts of an installed package that a package manager runs by itself.
#[rustfmt::skip]
pub(super) const INSTALL_SCRIPTS: &[&str] = &[
    "preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare",
    "dependencies",
];

/// Names of folders that people put first in their PATH.
pub(super) const PROGRAM_FOLDERS: &[&str] = &["bin", ".bin", "sbin", "shims"];

/// Endings of what compilers, interpreters and readers take for text.
#[rustfmt::skip]
pub(super) const SOURCE_ENDINGS: &[&str] = &[
    "ada", "adb", "ads", "asm", "astro", "awk", "bash", "bat", "bazel", "bzl", "c", "cc", "cfg", "cjs",
    "clj", "cljs", "cmake", "cmd", "conf", "cpp", "cr", "cs", "csh", "css", "cts", "cu", "cue", "cxx", "d",
    "dart", "edn", "el", "elm", "env", "erl", "ex", "exs", "f", "f90", "fish", "fs", "fsx", "gd", "go",
    "gradle", "graphql", "groovy", "h", "hcl", "hh", "hpp", "hrl", "hs", "htm", "html", "hx", "hxx", "in",
    "ini", "ipynb", "java", "jl", "js", "json", "json5", "jsonc", "jsonnet", "jsx", "kt", "kts", "ksh",
    "less", "lisp", "lock", "lua", "m", "m4", "mak", "md", "mdx", "mjs", "mk", "ml", "mli", "mm", "mod",
    "mts", "nim", "nix", "nu", "pas", "php", "pl", "pm", "pp", "properties", "proto", "ps1", "psm1", "pug",
    "py", "pyi", "pyx", "qml", "r", "rake", "rb", "rego", "rkt", "rs", "rst", "s", "sass", "sbt", "scala",
    "scm", "scss", "service", "sh", "sol", "sql", "star", "styl", "sum", "sv", "svelte", "svg", "swift",
    "t", "tcl", "tex", "tf", "tfvars", "thrift", "toml", "ts", "tsx", "txt", "v", "vb", "vhd", "vim", "vue",
    "xhtml", "xml", "xsl", "yaml", "yml", "zig", "zsh",
];

/// Names of files without an ending that are source all the same, in lower case.
#[rustfmt::skip]
pub(super) const SOURCE_NAMES: &[&str] = &[
    "containerfile", "dockerfile", "gemfile", "gnumakefile", "jenkinsfile", "justfile", "makefile", "procfile",
    "rakefile", "vagrantfile",
];

/// The names of a policy, and of the user's and the administrator's.
#[rustfmt::skip]
pub(super) const POLICY_FILES: &[&str] = &[
    "vantio.yaml", "vantio.json", "vantio.toml", ".vantio/policy.yaml", "vantio/policy.yaml",
    "vantio/policy.json", "vantio/policy.toml",
];

/// Folders that hold a policy.
pub(super) const POLICY_FOLDERS: &[&str] = &[".vantio", ".config/vantio", "/etc/vantio"];
