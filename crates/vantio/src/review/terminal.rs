//! The terminal, taken over and given back: at the end, on a panic, a signal, and a stop.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, getpid, kill_process},
};
use signal_hook::{consts::TERM_SIGNALS, flag};

/// A terminal in full-screen mode.
pub struct Screen {
    terminal: Option<DefaultTerminal>,
    is_told_to_end: Arc<AtomicBool>,
}

/// Something that a person or the system did.
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// The screen must be drawn again.
    Redraw,
    /// A signal said to end.
    End,
}

impl Screen {
    /// Takes the terminal over. A panic gives it back before it is reported.
    pub fn open() -> io::Result<Self> {
        let is_told_to_end = Arc::new(AtomicBool::new(false));
        for signal in TERM_SIGNALS.iter().copied().chain([signal_hook::consts::SIGHUP]) {
            // The second one ends the process where the first was not heeded.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_told_to_end))?;
            flag::register(signal, Arc::clone(&is_told_to_end))?;
        }
        Ok(Self { terminal: Some(ratatui::try_init()?), is_told_to_end })
    }

    /// Draws the whole screen.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        match &mut self.terminal {
            Some(terminal) => terminal.draw(draw).map(drop),
            None => Ok(()),
        }
    }

    /// Waits for something to happen.
    pub fn wait(&mut self) -> io::Result<Input> {
        loop {
            // Of a terminal that was hung up the library would read without end.
            if self.is_told_to_end.load(Ordering::Relaxed) || is_hung_up_after(Duration::ZERO) {
                return Ok(Input::End);
            }
            match event::poll(Duration::ZERO) {
                Ok(true) => {}
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(false) | Err(_) => {
                    is_hung_up_after(PATIENCE);
                    continue;
                }
            }
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Release => {}
                Event::Key(key) if is_control(&key, 'z') => {
                    self.stop()?;
                    return Ok(Input::Redraw);
                }
                Event::Key(key) if is_control(&key, 'c') => return Ok(Input::End),
                Event::Key(key) => return Ok(Input::Key(key)),
                Event::Resize(..) => return Ok(Input::Redraw),
                _ => {}
            }
        }
    }

    /// Gives the terminal back, stops as the shell expects it, and goes on when told to.
    fn stop(&mut self) -> io::Result<()> {
        self.terminal = None;
        ratatui::try_restore()?;
        kill_process(getpid(), Signal::TSTP)?;
        self.terminal = Some(ratatui::try_init()?);
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.terminal = None;
        ratatui::restore();
    }
}

/// Waits for a key, for so long at most; whether the terminal is gone.
fn is_hung_up_after(patience: Duration) -> bool {
    let stdin = rustix::stdio::stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    let timeout = Timespec::try_from(patience).ok();
    // A signal, among them that of another size, ends the waiting early.
    let _ = poll(&mut asked, timeout.as_ref());
    asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

fn is_control(key: &KeyEvent, letter: char) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char(letter)
}

/// How long a signal waits at most.
const PATIENCE: Duration = Duration::from_millis(200);
