"""Refreshes the index at night, compares the shop's refunds with it, and mails a report. Needs Python 3.9 or later.

    REPORT_TO=finance@example.com REPORT_FROM=recoup@example.com SMTP_HOST=smtp.example.com python3 nightly.py refunds.csv

The settings of recoup come from its own variables and recoup.toml. SMTP_PORT is 587 if it is not set; SMTP_USER and
SMTP_PASSWORD_FILE sign in. The connection uses STARTTLS, except to this machine. Run it from cron or a timer; the shop's system
puts its export of refunds in place before that.

Nothing is sent to impact.com that changes anything: `recoup crawl` and `recoup reconcile` only read. The report says which refunds
are still rewarded, and a person retracts them. It has order IDs and no accounts. Exit codes: 0 all is well; 6 a person should look
at the report; 1 the report could not be made or mailed.
"""

import email.message
import json
import os
import pathlib
import smtplib
import ssl
import subprocess
import sys
import tempfile

# What the classes of `recoup reconcile` ask of a person are in docs/refund-files.md. These need no one.
SETTLED = {"confirmed", "cancelled_otherwise", "not_a_referral", "not_refunded"}


def run(*arguments):
    """Runs a command of recoup. Returns its exit code, the last object that it printed, and what it said."""
    ended = subprocess.run(("recoup", *arguments, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    objects = [json.loads(line) for line in ended.stdout.splitlines() if line]
    return ended.returncode, objects, ended.stderr.strip()


def error_of(objects, said):
    """The error of a command that failed, with what to do about it."""
    for one in reversed(objects):
        error = one.get("error")
        if error:
            return f"{error['message']} ({error['hint']})"
    return said or "no message"


def report(refunds, outcomes):
    """The subject, the lines of the report, and whether a person should look at it."""
    lines, look = [], False
    # Ends before the agents begin. 8: the quota is used up, the state is saved, and the next night continues.
    code, objects, said = run("crawl", "--quiet", "--until", "06:00")
    if code == 0:
        lines.append("The index was refreshed.")
    elif code == 8:
        lines.append("The index was refreshed in part: the quota is used up, and the next night continues.")
    else:
        look = True
        lines.append(f"The index was not refreshed (exit code {code}): {error_of(objects, said)}")
    # 6: a refund is still rewarded, or not confirmed.
    code, objects, said = run("reconcile", "--quiet", str(refunds), "--out", str(outcomes), "--force")
    found = next((one for one in objects if "counts" in one), None)
    if found is None:
        return "recoup: no comparison", lines + ["", f"The refunds were not compared: {error_of(objects, said)}"], True
    look = look or code != 0
    lines += ["", f"{found['refunds']} refunds were compared:"]
    lines += [f"  {one['class']}: {one['refunds']}" for one in found["counts"]]
    rows = [row for row in found["rows"] if row["class"] not in SETTLED]
    if rows:
        lines += ["", "For a person to look at:"]
        lines += [f"  line {row['line']}, order {row['order_id']}: {row['class']}" for row in rows[:50]]
        if len(rows) > 50:
            lines.append(f"  and {len(rows) - 50} more in the attached file")
    return f"recoup: {'a person should look' if look else 'all is well'}", lines, look


def mail(subject, lines, attachment):
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, os.environ["REPORT_FROM"], os.environ["REPORT_TO"]
    message.set_content("\n".join(lines) + "\n")
    if attachment.exists():
        message.add_attachment(attachment.read_bytes(), maintype="text", subtype="csv", filename=attachment.name)
    host, port = os.environ["SMTP_HOST"], int(os.environ.get("SMTP_PORT", "587"))
    with smtplib.SMTP(host, port, timeout=30) as smtp:
        if host not in ("localhost", "127.0.0.1", "::1"):
            smtp.starttls(context=ssl.create_default_context())
        if os.environ.get("SMTP_USER"):
            password = pathlib.Path(os.environ["SMTP_PASSWORD_FILE"]).read_text(encoding="utf-8").strip()
            smtp.login(os.environ["SMTP_USER"], password)
        smtp.send_message(message)


def main(refunds):
    with tempfile.TemporaryDirectory() as folder:
        outcomes = pathlib.Path(folder) / "reconciled.csv"
        subject, lines, look = report(pathlib.Path(refunds), outcomes)
        print("\n".join(lines))
        try:
            mail(subject, lines, outcomes)
        except (OSError, smtplib.SMTPException) as error:
            print(f"the report could not be mailed: {error}", file=sys.stderr)
            return 1
    return 6 if look else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
