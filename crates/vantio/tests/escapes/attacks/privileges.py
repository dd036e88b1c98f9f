import subprocess

status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
attempt("new privileges", lambda: status["NoNewPrivs"].strip() != "1")
attempt("bounding set", lambda: int(status["CapBnd"], 16) >> 21 & 1 == 1 and os.getuid() != 0)


def run(*command):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    return result.stdout


uid = str(os.getuid())
if uid != "0":
    attempt("sudo", lambda: run("sudo", "-n", "id", "-u").strip() == "0")
    attempt("su", lambda: run("su", "-c", "id -u").strip() == "0")
    attempt("passwd", lambda: open_for_writing("/etc/shadow"))
    attempt("setuid", lambda: os.setuid(0))
    attempt("read shadow", lambda: len(read("/etc/shadow")) > 0)


def forge():
    """A setuid program of one's own gives nothing, whoever owns it."""
    run("cp", "/usr/bin/id", "forged")
    os.chmod("forged", 0o6755)
    return run("./forged", "-u").strip() not in ("", uid)


attempt("forged setuid", forge)
attempt("write /etc/passwd", lambda: open_for_writing("/etc/passwd"))
attempt("write sudoers", lambda: os.open("/etc/sudoers.d/me", os.O_WRONLY | os.O_CREAT) >= 0)
attempt("write cron", lambda: os.open("/etc/cron.d/me", os.O_WRONLY | os.O_CREAT) >= 0)
attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
