//! The caller's process while the run lives.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, kill_current_process_group, kill_process},
    termios::tcsetwinsize,
};

use super::{
    Outcome, Plan, TerminalError,
    relay::{Relay, Transfer},
    screen::{Ground, Screen},
    terminal_of,
};
use crate::{
    control::{Channel, ControlError, Message},
    sys::tty::{self, HeldSignals},
};

/// Serves the run until its end: signals, job control, and the terminal if
/// `plan` has one. Returns how the run ended, with the caller's terminal as it was.
///
/// `started` is told the agent's process number. The calling process has one
/// thread. It may be stopped and continued in here, any number of times.
pub(crate) fn attend(
    channel: &Channel,
    plan: &Plan,
    started: &mut dyn FnMut(i32),
) -> Result<Outcome, TerminalError> {
    let signals = HeldSignals::hold(HELD).map_err(failed("hold signals back"))?;
    let screen = terminal_of(plan.terminals).map(Screen::open).transpose();
    let attendance = Attendance {
        channel,
        screen: screen.map_err(failed("open the terminal"))?,
        signals,
        master: None,
        input: Relay::default(),
        output: Relay::default(),
        wants_keyboard: plan.foreground,
        was_told_to_stop: false,
    };
    attendance.run(started)
}

struct Attendance<'a> {
    channel: &'a Channel,
    /// The caller's terminal, until it is hung up. Declared before the signals, so that it is
    /// given back before they take effect again.
    screen: Option<Screen>,
    signals: HeldSignals,
    /// The run's terminal, once the supervisor sent it.
    master: Option<OwnedFd>,
    /// From the caller's terminal to the run's.
    input: Relay,
    /// From the run's terminal to the caller's.
    output: Relay,
    /// Whether what is typed belongs to the run as soon as this process is in the foreground.
    wants_keyboard: bool,
    /// Whether a stop signal came to this process and went on to the agent.
    was_told_to_stop: bool,
}

/// What can be done without waiting.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    channel: bool,
    keyboard: bool,
    display: bool,
    master_in: bool,
    master_out: bool,
}

impl Ready {
    /// A descriptor that was hung up is ready: using it says so.
    fn of(display: PollFlags, master: PollFlags) -> Self {
        let closed = PollFlags::HUP | PollFlags::ERR;
        Self {
            display: !display.is_empty(),
            master_in: master.intersects(PollFlags::IN | closed),
            master_out: master.intersects(PollFlags::OUT | closed),
            ..Self::default()
        }
    }
}

/// A descriptor and what is to be known about it.
type Question<'fd> = (BorrowedFd<'fd>, PollFlags);

impl Attendance<'_> {
    fn run(mut self, started: &mut dyn FnMut(i32)) -> Result<Outcome, TerminalError> {
        loop {
            let ready = self.wait()?;
            while let Some(number) = self.signals.next().map_err(failed("read a signal"))? {
                self.on_signal(number)?;
            }
            if ready.channel {
                match self.on_message(started) {
                    Ok(None) => {}
                    Ok(Some(outcome)) => {
                        self.finish()?;
                        return Ok(outcome);
                    }
                    Err(error) => {
                        self.finish()?;
                        return Err(error);
                    }
                }
            }
            self.transfer(ready)?;
            self.take_keyboard()?;
        }
    }

    /// Waits for something to do.
    fn wait(&self) -> Result<Ready, TerminalError> {
        let signals = Some((self.signals.as_fd(), PollFlags::IN));
        let channel = Some((self.channel.as_fd(), PollFlags::IN));
        let questions = [signals, channel, self.ask_keyboard(), self.ask_display(), self.ask_master()];
        let [_, channel, keyboard, display, master] = ask(questions, self.patience())?;
        let ready = Ready::of(display, master);
        Ok(Ready { channel: !channel.is_empty(), keyboard: !keyboard.is_empty(), ..ready })
    }

    /// Waits for the display and the run's terminal only.
    fn wait_for_output(&self, patience: Duration) -> Result<Ready, TerminalError> {
        let [display, master] = ask([self.ask_display(), self.ask_master()], Some(patience))?;
        Ok(Ready::of(display, master))
    }

    fn ask_keyboard(&self) -> Option<Question<'_>> {
        let screen = self.screen.as_ref()?;
        (screen.is_attached() && self.input.has_room()).then(|| (screen.as_fd(), PollFlags::IN))
    }

    fn ask_display(&self) -> Option<Question<'_>> {
        let screen = self.screen.as_ref()?;
        (!self.output.is_empty()).then(|| (screen.as_fd(), PollFlags::OUT))
    }

    fn ask_master(&self) -> Option<Question<'_>> {
        let master = self.master.as_ref()?;
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, self.output.has_room());
        events.set(PollFlags::OUT, !self.input.is_empty());
        (!events.is_empty()).then(|| (master.as_fd(), events))
    }

    /// Nobody tells a process that it came to the foreground without having been stopped.
    fn patience(&self) -> Option<Duration> {
        let is_waiting = self.screen.as_ref().is_some_and(|screen| !screen.is_attached());
        (is_waiting && self.wants_keyboard && self.master.is_some()).then_some(GLANCE)
    }

    fn on_signal(&mut self, number: i32) -> Result<(), TerminalError> {
        match number {
            libc::SIGWINCH => self.copy_size(),
            libc::SIGCONT => return self.resume(),
            libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => {
                self.was_told_to_stop = true;
                self.tell(&Message::Signal { number })?;
            }
            _ => self.tell(&Message::Signal { number })?,
        }
        Ok(())
    }

    fn on_message(&mut self, started: &mut dyn FnMut(i32)) -> Result<Option<Outcome>, TerminalError> {
        match self.channel.receive().map_err(lost)? {
            (Message::Started { pid }, None) => started(pid),
            (Message::Terminal, Some(master)) => {
                rustix::io::ioctl_fionbio(&master, true).map_err(failed("use the run's terminal"))?;
                self.master = Some(master);
                self.copy_size();
            }
            (Message::Stopped { signal }, None) => self.on_stopped(signal)?,
            (Message::Ended(ending, account), None) => return Ok(Some(Outcome::Ended(ending, account))),
            (Message::Failed(failure), None) => return Ok(Some(Outcome::Failed(failure))),
            _ => return Err(TerminalError::Control(ControlError::Malformed)),
        }
        Ok(None)
    }

    /// The agent stopped: this process does as it did, unless all that the agent
    /// wanted is the keyboard, and that can be had.
    fn on_stopped(&mut self, signal: i32) -> Result<(), TerminalError> {
        let was_told = std::mem::take(&mut self.was_told_to_stop);
        let wants_keyboard = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if wants_keyboard && !was_told && self.screen.is_some() {
            self.wants_keyboard = true;
            self.take_keyboard()?;
            if self.screen.as_ref().is_some_and(Screen::is_attached) {
                return self.tell(&Message::Continue);
            }
        }
        self.show_rest(Duration::ZERO, LAST_WORDS / 10)?;
        if let Some(screen) = &mut self.screen {
            screen.detach();
        }
        let stopped = match Signal::from_named_raw(signal) {
            // The others in the job have had the signal, or were not meant.
            Some(signal) if was_told || signal == Signal::STOP => {
                kill_process(rustix::process::getpid(), signal)
            }
            // As the kernel would have done at one terminal.
            Some(signal) => kill_current_process_group(signal),
            None => Err(Errno::INVAL),
        };
        stopped.and_then(|()| tty::release(signal)).map_err(failed("stop"))?;
        tty::forget(libc::SIGCONT);
        self.resume()
    }

    /// This process was stopped and goes on, perhaps elsewhere than before.
    fn resume(&mut self) -> Result<(), TerminalError> {
        if let Some(screen) = &mut self.screen {
            screen.reattach().map_err(failed("set the terminal"))?;
        }
        self.take_keyboard()?;
        self.copy_size();
        self.tell(&Message::Continue)
    }

    fn take_keyboard(&mut self) -> Result<(), TerminalError> {
        match &mut self.screen {
            Some(screen) if self.wants_keyboard && self.master.is_some() => {
                screen.attach().map_err(failed("set the terminal"))
            }
            _ => Ok(()),
        }
    }

    /// A size that cannot be had or set changes nothing.
    fn copy_size(&self) {
        if let (Some(screen), Some(master)) = (&self.screen, &self.master)
            && let Ok(size) = screen.size()
        {
            let _ = tcsetwinsize(master, size);
        }
    }

    /// What the supervisor said before it went away is still to be received, so
    /// that it is gone is no error here.
    fn tell(&self, message: &Message) -> Result<(), TerminalError> {
        match self.channel.send(message, None) {
            Ok(()) | Err(ControlError::Closed) => Ok(()),
            Err(error) => Err(TerminalError::Control(error)),
        }
    }

    fn transfer(&mut self, ready: Ready) -> Result<(), TerminalError> {
        if ready.keyboard {
            self.read_keyboard()?;
        }
        if let Some(master) = &self.master {
            let failed = failed("use the run's terminal");
            if ready.master_out && self.input.drain(master).map_err(&failed)? == Transfer::Refused {
                self.input.clear();
            }
            if ready.master_in && self.output.fill(master).map_err(&failed)? == Transfer::Refused {
                self.master = None;
            }
        }
        if ready.display {
            self.show()?;
        }
        Ok(())
    }

    fn read_keyboard(&mut self) -> Result<(), TerminalError> {
        let Some(screen) = &mut self.screen else { return Ok(()) };
        let transfer = self.input.fill(&*screen).map_err(failed("read the terminal"))?;
        match (transfer, screen.ground()) {
            (Transfer::Moved | Transfer::Blocked, _) => {}
            // Somebody took the terminal out of raw mode and the end-of-file character was typed.
            (Transfer::End, Ground::Fore) if !is_hung_up(screen) => self.input.push(&[END_OF_FILE]),
            (_, Ground::Back) => screen.detach(),
            (_, Ground::Fore | Ground::Gone) => return self.hang_up(),
        }
        Ok(())
    }

    fn show(&mut self) -> Result<(), TerminalError> {
        let Some(screen) = &self.screen else { return Ok(()) };
        if self.output.drain(screen).map_err(failed("write to the terminal"))? == Transfer::Refused {
            return self.hang_up();
        }
        Ok(())
    }

    /// The caller's terminal is gone, hence the run's. A shell would tell its job;
    /// init, the leader of the run's session, tells nobody.
    fn hang_up(&mut self) -> Result<(), TerminalError> {
        self.screen = None;
        self.master = None;
        self.tell(&Message::Signal { number: libc::SIGHUP })
    }

    /// The run is over: shows what it had still written.
    fn finish(&mut self) -> Result<(), TerminalError> {
        self.input.clear();
        self.show_rest(SILENCE, LAST_WORDS)
    }

    /// Shows what the run has written, until it was silent for `silence`, for `limit` at most.
    fn show_rest(&mut self, silence: Duration, limit: Duration) -> Result<(), TerminalError> {
        let deadline = Instant::now() + limit;
        while (self.master.is_some() || !self.output.is_empty()) && self.screen.is_some() {
            let patience = if self.output.is_empty() { silence } else { SILENCE };
            let ready = self.wait_for_output(patience)?;
            let is_silent = !ready.master_in && self.output.is_empty();
            if is_silent || Instant::now() > deadline {
                break;
            }
            self.transfer(ready)?;
        }
        Ok(())
    }
}

/// Polls; nothing is known of a descriptor that is not asked about.
fn ask<const N: usize>(
    questions: [Option<Question<'_>>; N],
    patience: Option<Duration>,
) -> Result<[PollFlags; N], TerminalError> {
    let asked = questions.iter().flatten();
    let mut descriptors: Vec<_> = asked.map(|(fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(failed("wait for events")(errno)),
    }
    let mut answers = descriptors.iter().map(PollFd::revents);
    Ok(questions.map(|question| question.and_then(|_| answers.next()).unwrap_or(PollFlags::empty())))
}

fn is_hung_up(screen: &Screen) -> bool {
    let nothing = PollFlags::empty();
    ask([Some((screen.as_fd(), nothing))], Some(Duration::ZERO))
        .is_ok_and(|[answer]| answer.contains(PollFlags::HUP))
}

fn lost(error: ControlError) -> TerminalError {
    match error {
        ControlError::Closed => TerminalError::SupervisorLost,
        other => TerminalError::Control(other),
    }
}

fn failed(action: &'static str) -> impl Fn(Errno) -> TerminalError {
    move |cause| TerminalError::Failed { action, cause }
}

/// What a person or a shell sends to a program in the foreground.
const HELD: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGWINCH,
];

/// `VEOF`, as terminals have it unless told otherwise.
const END_OF_FILE: u8 = 0x04;

/// How often a process in the background looks whether it still is.
const GLANCE: Duration = Duration::from_millis(200);

/// How long the run's terminal is silent when nothing more will come.
const SILENCE: Duration = Duration::from_millis(50);

/// The most that showing the rest may take, where somebody stopped the display.
const LAST_WORDS: Duration = Duration::from_secs(5);
