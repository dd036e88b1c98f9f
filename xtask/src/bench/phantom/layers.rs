//! What Vantio does with the layers of a run: checkpoint, restore, commit; and the memory that its supervisor takes.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    case::{Case, prepare},
    overlay::COMMIT_BY_SHELL,
    probe::numbered,
    sheet::Row,
    stage::{Seat, Stage},
    subject::Subject,
};
use crate::{
    failure::{AtPath, Failure},
    shell,
};

/// Measures `case`, for root and an ordinary user where there are two; ends with other rows that belong to it.
pub fn measure(stage: &Stage, case: Case, rounds: u32) -> Result<Vec<Row>, Failure> {
    let seats = [(Subject::Vantio, Some(&stage.own)), (Subject::VantioUser, stage.user.as_ref())];
    let mut rows = Vec::new();
    for (subject, seat) in seats {
        let Some(seat) = seat else { continue };
        let row = |name, is_own, values| Row::new(name, is_own, "try-stand-in", values);
        match case {
            Case::Commit => {
                let mut values = commits(stage, seat, rounds)?;
                if subject == Subject::Vantio {
                    rows.push(row("try-stand-in", false, std::mem::take(&mut values[1])));
                }
                rows.push(row(subject.name(), true, std::mem::take(&mut values[0])));
            }
            Case::Memory => {
                let [resident, own] = memory(stage, seat, rounds)?;
                rows.push(row(subject.name(), true, resident));
                let share =
                    if subject == Subject::Vantio { "vantio, its share" } else { "vantio-user, its share" };
                rows.push(row(share, false, own));
            }
            _ => {
                let [taken, back, over] = checkpoints(stage, seat, rounds)?;
                if case == Case::Checkpoint {
                    rows.push(row(subject.name(), true, taken));
                } else {
                    rows.push(row(subject.name(), true, back));
                    let end = if subject == Subject::Vantio {
                        "vantio, to its end"
                    } else {
                        "vantio-user, to its end"
                    };
                    rows.push(row(end, false, over));
                }
            }
        }
    }
    Ok(rows)
}

/// Milliseconds of the checkpoint, of the restore until the run is back, and until the command ends.
fn checkpoints(stage: &Stage, seat: &Seat, rounds: u32) -> Result<[Vec<f64>; 3], Failure> {
    let tree = seat.workspace().join("tree");
    write_tree(&tree, seat)?;
    let mut values = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=rounds {
        let mut run = vantio(stage, seat, &["run", "--preset", "workspace", "--"]);
        run.args([&stage.probe, "probe", "rewrite", "tree", CHANGED, "again"]);
        let mut run = Talking::start(run)?;
        run.hear("ready")?;
        let taken = timed(&mut vantio(stage, seat, &["checkpoint", "last"]))?;
        run.tell("go")?;
        run.end()?;
        let start = Instant::now();
        let mut restore = Talking::start(vantio(stage, seat, &["restore", "last", "1"]))?;
        restore.hear_error("is back at checkpoint")?;
        let back = start.elapsed();
        restore.end()?;
        let over = start.elapsed();
        shell::quiet(&mut vantio(stage, seat, &["discard", "last"]))?;
        if round > 0 {
            for (values, time) in values.iter_mut().zip([taken, back, over]) {
                values.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    fs::remove_dir_all(&tree).at(&tree)?;
    Ok(values)
}

/// Milliseconds of Vantio's commit, and of the one by a shell script, of the same new files.
fn commits(stage: &Stage, seat: &Seat, rounds: u32) -> Result<[Vec<f64>; 2], Failure> {
    let mut values = [Vec::new(), Vec::new()];
    let host = seat.workspace().join("committed");
    for _ in 0..rounds {
        let mut run = vantio(stage, seat, &["run", "--preset", "workspace", "--"]);
        run.args([&stage.probe, "probe", "rewrite", "committed", COMMITTED, "end"]);
        shell::quiet(&mut run)?;
        values[0].push(timed(&mut vantio(stage, seat, &["commit", "last"]))?.as_secs_f64() * 1e3);
        remove_committed(&host)?;
        shell::quiet(&mut vantio(stage, seat, &["discard", "last"]))?;
        // The stand-in is the same for everybody, and takes long enough to be measured once.
        if seat.owner.is_none() && values[1].is_empty() {
            let upper = seat.path("by-shell");
            fs::create_dir_all(&upper).at(&upper)?;
            fs::create_dir_all(&host).at(&host)?;
            let mut write = Command::new(&stage.probe);
            shell::quiet(write.args(["probe", "rewrite"]).arg(&upper).args([COMMITTED, "end"]))?;
            let mut commit = Command::new("sh");
            commit.args(["-c", COMMIT_BY_SHELL, "sh"]).arg(&upper).arg(&host);
            values[1].push(timed(&mut commit)?.as_secs_f64() * 1e3);
            remove_committed(&host)?;
            fs::remove_dir_all(&upper).at(&upper)?;
        }
    }
    Ok(values)
}

/// Removes what was committed, having seen that it is all there.
fn remove_committed(host: &Path) -> Result<(), Failure> {
    let last = COMMITTED.parse::<u32>().unwrap_or(1) - 1;
    if !numbered(host, last).exists() {
        return Err(Failure::Check(format!("`{}` was not committed", numbered(host, last).display())));
    }
    fs::remove_dir_all(host).at(host)
}

/// The most that the supervisor had in memory, and the most that was its own or its share of what several have.
fn memory(stage: &Stage, seat: &Seat, rounds: u32) -> Result<[Vec<f64>; 2], Failure> {
    let mut values = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let mut run = vantio(stage, seat, &["run", "--preset", "workspace", "--"]);
        run.args(["sh", "-c", "cd c && make --silent -j2"]);
        let mut run = Talking::start(run)?;
        let (mut resident, mut share) = (0.0_f64, 0.0_f64);
        while run.is_running()? {
            if let Some(supervisor) = child_of(run.child.id()) {
                resident = resident.max(kilobytes(supervisor, "status", "VmHWM:").unwrap_or(0.0));
                share = share.max(kilobytes(supervisor, "smaps_rollup", "Pss:").unwrap_or(0.0));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        shell::quiet(&mut vantio(stage, seat, &["discard", "last"]))?;
        for (values, kilobytes) in values.iter_mut().zip([resident, share]) {
            values.push(kilobytes / 1024.0);
        }
    }
    Ok(values)
}

/// The process that another started first: of `vantio run`, its supervisor.
fn child_of(process: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn kilobytes(process: u32, file: &str, field: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ten thousand files, a gigabyte together.
fn write_tree(tree: &Path, seat: &Seat) -> Result<(), Failure> {
    let content = vec![b'x'; TREE_BYTES / TREE_FILES];
    for number in 0..u32::try_from(TREE_FILES).unwrap_or(u32::MAX) {
        let path = numbered(tree, number);
        if let Some(folder) = path.parent().filter(|_| number % 100 == 0) {
            fs::create_dir_all(folder).at(folder)?;
        }
        fs::write(&path, &content).at(&path)?;
    }
    if let Some((user, group)) = seat.owner {
        shell::quiet(Command::new("chown").arg("-R").arg(format!("{user}:{group}")).arg(tree))?;
    }
    Ok(())
}

fn vantio(stage: &Stage, seat: &Seat, arguments: &[&str]) -> Command {
    let mut command = Command::new(&stage.vantio);
    command.args(arguments);
    prepare(&mut command, stage, seat);
    command
}

fn timed(command: &mut Command) -> Result<Duration, Failure> {
    let start = Instant::now();
    shell::quiet(command)?;
    Ok(start.elapsed())
}

/// A program that is spoken with.
struct Talking {
    child: Child,
    name: PathBuf,
}

impl Talking {
    fn start(mut command: Command) -> Result<Self, Failure> {
        let name = PathBuf::from(command.get_program());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().at(&name)?;
        Ok(Self { child, name })
    }

    /// Reads its output until a line has `text` in it.
    fn hear(&mut self, text: &str) -> Result<(), Failure> {
        let lines = self.child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines());
        hear(lines, text)
    }

    /// Reads its errors until a line has `text` in it.
    fn hear_error(&mut self, text: &str) -> Result<(), Failure> {
        let lines = self.child.stderr.take().into_iter().flat_map(|output| BufReader::new(output).lines());
        hear(lines, text)
    }

    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        let input = self.child.stdin.as_mut();
        input.map_or(Ok(()), |input| writeln!(input, "{text}")).at(&self.name)
    }

    fn is_running(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait().at(&self.name)?.is_none())
    }

    fn end(mut self) -> Result<(), Failure> {
        let status = self.child.wait().at(&self.name)?;
        if status.success() {
            return Ok(());
        }
        let command = self.name.display().to_string();
        Err(Failure::Exit { command, status, output: String::new() })
    }
}

fn hear(mut lines: impl Iterator<Item = std::io::Result<String>>, text: &str) -> Result<(), Failure> {
    if lines.any(|line| line.is_ok_and(|line| line.contains(text))) {
        return Ok(());
    }
    Err(Failure::Check(format!("nothing said `{text}`")))
}

const TREE_FILES: usize = 10_000;
const TREE_BYTES: usize = 1 << 30;
/// Files of the tree that the run changes, before the checkpoint and after it.
const CHANGED: &str = "1000";
const COMMITTED: &str = "10000";
