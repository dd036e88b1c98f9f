//! The suite `conformance`: logs that Vantio publishes, checked by the Go program in
//! `conformance/tlog` with libraries that others wrote; and exports for other systems, checked by
//! `conformance/siem` with the schemas that those publish.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    failure::{AtPath, Failure},
    layout, shell,
    step::step,
};

/// The first Go that fetches by itself the toolchain that a module asks for.
const FETCHES_TOOLCHAINS: Version = (1, 21, 0);

/// Whether every check passed, and what was printed.
pub fn run() -> Result<(bool, String), Failure> {
    let folder = layout::target().join("conformance");
    fs::create_dir_all(&folder).at(&folder)?;
    let (checker, logs) = (folder.join("tlog"), folder.join("logs"));
    step("build the checks", || build(&checker))?;
    step("write logs", || write(&logs))?;
    step("build a witness", || build_witness(&folder))?;
    let (is_read, checks) =
        shell::tee(Command::new(&checker).arg(logs.join("tree")).arg(logs.join("ledger")))?;
    let (is_signed, witnessed) = shell::tee(
        layout::cargo()
            .args(["test", "--quiet", "--package", "vantio", "--test", "witness"])
            .env("VANTIO_LITEWITNESS", folder.join("litewitness")),
    )?;
    let siem = layout::root().join("conformance/siem/run.sh");
    let (is_valid, validated) = shell::tee(&mut Command::new(siem))?;
    Ok((is_read && is_signed && is_valid, checks + &witnessed + &validated))
}

/// torchwood's own witness, of the version whose library the checks use.
fn build_witness(folder: &Path) -> Result<String, Failure> {
    let path = module().join("go.mod");
    let text = fs::read_to_string(&path).at(&path)?;
    let version = text.lines().find_map(|line| line.trim().strip_prefix("filippo.io/torchwood "));
    let version = version.ok_or_else(|| Failure::Check("go.mod names no torchwood".to_owned()))?;
    let mut go = go()?;
    go.current_dir(folder).env("GOBIN", folder).env("GOFLAGS", "-buildvcs=false");
    shell::quiet(go.arg("install").arg(format!("filippo.io/torchwood/cmd/litewitness@{}", version.trim())))
}

fn build(checker: &Path) -> Result<String, Failure> {
    let mut go = go()?;
    go.current_dir(module()).args(["build", "-buildvcs=false", "-o"]).arg(checker).arg(".");
    shell::quiet(&mut go)
}

fn write(logs: &Path) -> Result<String, Failure> {
    if logs.exists() {
        fs::remove_dir_all(logs).at(logs)?;
    }
    let example = ["run", "--quiet", "--package", "vantio-ledger", "--example", "tlog_folder", "--"];
    shell::quiet(layout::cargo().args(example).arg(logs))
}

/// A Go that is new enough for the module: the one that is there, or the one that it fetches
/// as it fetches modules.
fn go() -> Result<Command, Failure> {
    let path = module().join("go.mod");
    let text = fs::read_to_string(&path).at(&path)?;
    let wanted = text.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or_default().trim();
    let unknown = || Failure::Check("the version of Go is unknown".to_owned());
    let needed = version(wanted).ok_or_else(unknown)?;
    let found = shell::quiet(Command::new("go").arg("version").env("GOTOOLCHAIN", "local"))?;
    let found = found.split(' ').nth(2).and_then(|word| version(word.strip_prefix("go")?));
    let found = found.ok_or_else(unknown)?;
    let mut go = Command::new("go");
    if found >= needed {
        go.env("GOTOOLCHAIN", "local");
    } else if found >= FETCHES_TOOLCHAINS {
        go.env("GOTOOLCHAIN", format!("go{wanted}"));
    } else {
        go = Command::new(fetched(wanted)?);
        go.env("GOTOOLCHAIN", "local").env_remove("GOROOT");
    }
    Ok(go)
}

/// The `go` of the toolchain module of this version, for a Go that cannot run it by itself.
fn fetched(version: &str) -> Result<PathBuf, Failure> {
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let module = format!("golang.org/toolchain@v0.0.1-go{version}.linux-{architecture}");
    // Outside of modules whose `go` line an old Go cannot read.
    let mut download = Command::new("go");
    download
        .current_dir(layout::target())
        .env("GO111MODULE", "on")
        .args(["mod", "download", "-json", &module]);
    let answer = shell::quiet(&mut download)?;
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    let directory = answer.get("Dir").and_then(Value::as_str);
    let directory = directory.ok_or_else(|| Failure::Check(format!("`go` fetched no {module}")))?;
    let mut executable = Command::new("chmod");
    let mut tools = vec![PathBuf::from(directory).join("bin")];
    tools.push(PathBuf::from(directory).join("pkg/tool"));
    // Modules come without the right to be executed.
    shell::quiet(executable.args(["-R", "u+rwX,a+x"]).args(&tools))?;
    Ok(PathBuf::from(directory).join("bin/go"))
}

type Version = (u32, u32, u32);

/// The numbers of `1.26.0`; those that are not written are zeros.
fn version(text: &str) -> Option<Version> {
    let digits = |part: &str| part.split(|letter: char| !letter.is_ascii_digit()).next().map(str::to_owned);
    let mut numbers = text.split('.').map(|part| digits(part).and_then(|digits| digits.parse().ok()));
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

fn module() -> PathBuf {
    layout::root().join("conformance/tlog")
}
