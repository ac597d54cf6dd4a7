"""`scripts/deploy-check`: the files in deploy/, read by the tools that will read them.

systemd's own verifier for the units, the published schemas for the Kubernetes manifests, and both
versions of compose for the compose file. Nothing is started. A tool that is missing is a failure
of its check, not a check left out in silence.
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from martlet import tools
from martlet.console import run_main, say

DEPLOY = os.path.join(tools.ROOT, "deploy")
EXPOSURE_BAR = 2.0

EPILOG = """Exit codes: 0 all is well, 1 something is not, 2 wrong usage or a missing tool."""


def run(*words):
    """(whether it succeeded, its output)"""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout.strip()


def units():
    """Every unit passes systemd-analyze, and exposes little."""
    tools.need_tool("systemd-analyze", "systemd", "it verifies the units")
    good = True
    for path in sorted(glob.glob(os.path.join(DEPLOY, "systemd", "*.service"))):
        name = os.path.basename(path)
        with tempfile.TemporaryDirectory(prefix="martlet-units-") as folder:
            copy = os.path.join(folder, name.replace("@.", "@6380."))
            with open(path) as file:
                # The verifier wants the program to be there; ours may not be installed.
                text = re.sub(r"^ExecStart=/usr/bin/martlet-\w+", "ExecStart=/bin/true",
                              file.read(), flags=re.M)
            with open(copy, "w") as file:
                file.write(text)
            fine, output = run("systemd-analyze", "verify", copy)
            mine = [line for line in output.splitlines() if folder in line or "martlet" in line]
            _, security = run("systemd-analyze", "security", "--offline=yes", copy)
        found = re.search(r"exposure level for \S+: ([\d.]+)", security)
        exposure = float(found.group(1)) if found else 10.0
        fine = fine and not mine and exposure <= EXPOSURE_BAR
        good = good and fine
        say("%-24s %s, exposure %.1f (bar %.1f)"
            % (name, "well" if fine else "NOT WELL", exposure, EXPOSURE_BAR))
        for line in mine:
            say("    " + line)
    return good


def manifests():
    """Every manifest follows the published schemas, without a field that they do not know."""
    validate = validator()
    good = True
    for path in sorted(glob.glob(os.path.join(DEPLOY, "kubernetes", "*.yaml"))):
        fine, output = run(validate, "--strict", path)
        good = good and fine
        lines = output.splitlines()
        say("%-24s %s, %d resources" % (
            os.path.basename(path), "well" if fine else "NOT WELL",
            sum("passed" in line for line in lines)))
        if not fine:
            say("\n".join("    " + line for line in lines if "passed" not in line))
    return good


def validator():
    found = shutil.which("kubernetes-validate")
    if found:
        return found
    folder = os.path.join(tools.ROOT, ".build", "kubernetes-validate")
    program = os.path.join(folder, "bin", "kubernetes-validate")
    if not os.access(program, os.X_OK):
        say("installing kubernetes-validate into %s" % folder)
        run(sys.executable, "-m", "venv", folder)
        fine, output = run(os.path.join(folder, "bin", "pip"), "install", "-q",
                           "kubernetes-validate")
        if not fine:
            raise AssertionError("kubernetes-validate cannot be installed:\n" + output)
    return program


def compose():
    """Each version of compose that is installed reads the file; one of them must be."""
    path = os.path.join(DEPLOY, "docker-compose.yml")
    commands = [["docker-compose"], ["docker", "compose"]]
    tried, good = 0, True
    for command in commands:
        if not shutil.which(command[0]) or not run(*command, "version")[0]:
            say("%-24s not installed" % " ".join(command))
            continue
        fine, output = run(*command, "-f", path, "config", "-q")
        tried += 1
        good = good and fine
        say("%-24s %s" % (" ".join(command), "well" if fine else "NOT WELL\n" + output))
    return good and tried > 0


CHECKS = {"systemd": units, "kubernetes": manifests, "compose": compose}


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/deploy-check", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Checks the files in deploy/ without starting anything.", epilog=EPILOG,
    )
    parser.add_argument("checks", nargs="*", metavar="CHECK",
                        help="of: %s (default: all)" % ", ".join(CHECKS))
    chosen = parser.parse_args().checks or list(CHECKS)
    for name in chosen:
        if name not in CHECKS:
            parser.error("no such check: %s" % name)
    results = [CHECKS[name]() for name in chosen]
    return 0 if all(results) else 1


run_main(main)
