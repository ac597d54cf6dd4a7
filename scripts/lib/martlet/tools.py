"""Where things are, and how to get what is missing: the package root, binaries, Debian packages."""

import glob
import os
import shutil
import subprocess
import sys

from .console import Failure, Stopwatch, say

ROOT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
)
PRODUCT = "martlet-server"
RELEASE_FLAGS = ["-c", "release", "--static-swift-stdlib"]


def server_path():
    """The server under test: MARTLET_SERVER, or the release build."""
    return os.environ.get("MARTLET_SERVER") or os.path.join(ROOT, ".build", "release", PRODUCT)


def need_swift():
    if not shutil.which("swift"):
        raise Failure(
            "the Swift toolchain (6.2 or later) is not on PATH: see https://www.swift.org/install",
            2,
        )


LUA_PACKAGES = {
    "liblua5.1-0-dev": "liblua5.1.a",
    "lua-cjson-dev": "liblua5.1-cjson.a",
    "lua-bitop-dev": "liblua5.1-bitop.a",
}


def need_lua():
    """Lua and two of its libraries, which are linked in statically."""
    folders = ["/usr/lib", "/usr/local/lib"] + glob.glob("/usr/lib/*-linux-gnu")
    missing = [
        package
        for package, name in LUA_PACKAGES.items()
        if not any(os.path.exists(os.path.join(folder, name)) for folder in folders)
    ]
    if missing:
        install(missing, "scripts run on Lua 5.1")


def need_build():
    """All that a build needs: the toolchain, libcrypto, and Lua."""
    need_swift()
    if not os.path.exists("/usr/include/openssl/sha.h"):
        install(["libssl-dev"], "passwords are kept as hashes that libcrypto makes")
    need_lua()


def build_server(quiet=False):
    """The release server, built if its sources are newer; MARTLET_SERVER is taken as it is."""
    path = server_path()
    if os.environ.get("MARTLET_SERVER"):
        if not os.access(path, os.X_OK):
            raise Failure("MARTLET_SERVER=%s is not an executable file" % path, 2)
        return path
    build_product(PRODUCT, quiet)
    return path


def build_product(product, quiet=False):
    """Builds one product in release mode and returns its path; nothing happens if it is current."""
    path = os.path.join(ROOT, ".build", "release", product)
    if _is_current(path):
        return path
    need_build()
    command = ["swift", "build"] + RELEASE_FLAGS + ["--product", product]
    say("building %s: %s (a first build takes some minutes)" % (product, " ".join(command)))
    watch = Stopwatch()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failure("the build failed:\n" + _tail(done.stdout.decode("utf-8", "replace"), 40))
    if not os.access(path, os.X_OK):
        raise Failure("the build left no executable at %s" % path)
    os.utime(path)  # SwiftPM leaves an unchanged file's time alone
    if not quiet:
        say("built in %s" % watch)
    return path


def _is_current(path):
    if not os.access(path, os.X_OK):
        return False
    built = os.path.getmtime(path)
    for folder, _, names in os.walk(os.path.join(ROOT, "Sources")):
        if os.path.getmtime(folder) > built:
            return False
        if any(os.path.getmtime(os.path.join(folder, name)) > built for name in names):
            return False
    return os.path.getmtime(os.path.join(ROOT, "Package.swift")) <= built


def _tail(text, lines):
    return "\n".join(text.rstrip().splitlines()[-lines:])


_updated = False


def install(packages, why):
    """Installs Debian packages, as root or by sudo, and says so; fails with the command to run."""
    global _updated
    command = ["apt-get", "install", "-y", "--no-install-recommends"] + packages
    prefix = []
    if os.geteuid() != 0:
        prefix = ["sudo", "-n"]
    usable = shutil.which("apt-get") and (not prefix or shutil.which("sudo"))
    if not usable:
        raise Failure(
            "%s missing (%s); as root, run: %s" % (" ".join(packages), why, " ".join(command)), 2
        )
    say("installing %s (%s): %s" % (" ".join(packages), why, " ".join(prefix + command)))
    environment = prefix + ["env", "DEBIAN_FRONTEND=noninteractive"]
    if not _updated:
        subprocess.run(environment + ["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL)
        _updated = True
    done = subprocess.run(environment + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failure(
            "installing %s failed:\n%s"
            % (" ".join(packages), _tail(done.stdout.decode("utf-8", "replace"), 10))
        )


def need_tool(name, package, why):
    """The path of a program, installed from its Debian package if it is missing."""
    found = shutil.which(name)
    if not found:
        # redis-server's package would start a system service: keep it from doing that.
        install([package], why)
        found = shutil.which(name)
    if not found:
        raise Failure("%s is still missing after installing %s" % (name, package), 2)
    return found


def redis_server(why):
    return os.environ.get("REDIS_SERVER") or need_tool("redis-server", "redis-server", why)


def redis_cli(why):
    return need_tool("redis-cli", "redis-tools", why)


def python_with_redis():
    """A Python that has redis-py: this one, or a virtual environment in the build folder."""
    if has_redis(sys.executable):
        return sys.executable
    folder = os.path.join(ROOT, ".build", "python")
    python = os.path.join(folder, "bin", "python3")
    if os.access(python, os.X_OK) and has_redis(python):
        return python
    say("redis-py is missing: installing it into %s" % folder)
    made = subprocess.run(
        [sys.executable, "-m", "venv", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if made.returncode == 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "redis>=5"])
        if has_redis(python):
            return python
    install(["python3-redis"], "the client tests use redis-py")
    if has_redis("/usr/bin/python3"):
        return "/usr/bin/python3"
    raise Failure("redis-py could not be installed: try `pip install redis`", 2)


def has_redis(python):
    return (
        subprocess.run(
            [python, "-c", "import redis"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ).returncode
        == 0
    )


def need_redis_py():
    """Goes on in a Python that has redis-py, if this one has not."""
    try:
        import redis  # noqa: F401
    except ImportError:
        python = python_with_redis()
        os.execv(python, [python] + sys.argv)
