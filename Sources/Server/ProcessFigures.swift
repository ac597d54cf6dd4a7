// What INFO shows of the process itself, and the things that administration commands need at once:
// see `AdminState`.
import Base
import CLinux
import Engine
import Glibc
import NodeCore

extension EventLoopPointer {
    /// Gives the node's administration commands their way to the process.
    func connectAdministration(supervision: String) {
        let node = pointee.node
        node.pointee.admin.process = ProcessFigures.fixed(supervision: supervision)
        node.executor.pointee.timer.ticks = { cycles() }
        node.executor.pointee.scripts.clock = { Clock.wallMicroseconds() }
        node.executor.pointee.scripts.serveMeanwhile = { executor in
            let executor = executor.assumingMemoryBound(to: Executor.self)
            guard let host = executor.pointee.host else { return }
            let node = host.assumingMemoryBound(to: Node.self)
            node.pointee.admin.serveMeanwhile?()
        }
        node.pointee.admin.serveMeanwhile = { serveMeanwhile() }
        node.pointee.admin.refreshProcess = { ProcessFigures.refresh(&$0) }
        node.pointee.admin.applySettings = { apply($0) }
        node.pointee.admin.linkMemory = {
            pointee.links.values.reduce(0) { $0 + linkSize + $1.pointee.queue.capacity }
        }
        node.pointee.admin.sleep = {
            var shell = ProcessShell(loop: self)
            node.beforePause(&shell)
            pause(microseconds: $0)
        }
        node.pointee.admin.readFile = { name in
            do throws(SystemError) {
                return try Syscalls.contents(ofFile: name)
            } catch {
                return nil
            }
        }
        node.pointee.admin.secretBytes = { Entropy.bytes($0) }
        node.pointee.admin.reloadLog = {
            var folder = LogFolder(loop: nil)
            return node.reloadLog(&folder)
        }
        if let folder = ProcessFigures.workingFolder {
            node.executor.pointee.settings.directory = folder
        }
    }
}

private let linkSize = MemoryLayout<Link>.size

enum ProcessFigures {
    /// What does not change while the process lives.
    static func fixed(supervision: String) -> ProcessFacts {
        var facts = ProcessFacts()
        facts.operatingSystem = operatingSystem
        facts.processID = Int64(getpid())
        facts.executable = linkTarget("/proc/self/exe") ?? ""
        facts.supervised = supervision
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        facts.systemMemory = Swift.max(0, pages) * pageSize
        return facts
    }

    /// What changes all the time.
    static func refresh(_ facts: inout ProcessFacts) {
        facts.residentBytes = residentBytes
        let whole = times(of: RUSAGE_SELF)
        facts.userSeconds = whole.user
        facts.systemSeconds = whole.system
        let thread = times(of: __rusage_who(rawValue: ProcessFigures.callingThread))
        facts.mainUserSeconds = thread.user
        facts.mainSystemSeconds = thread.system
    }

    static var workingFolder: String? {
        var room = [CChar](repeating: 0, count: Int(PATH_MAX))
        guard getcwd(&room, room.count) != nil else { return nil }
        return text(room)
    }

    /// The absolute form of a folder that can be entered, or why there is none.
    static func folder(_ path: String) -> Result<String, FolderProblem> {
        var room = [CChar](repeating: 0, count: Int(PATH_MAX))
        guard realpath(path, &room) != nil, access(room, X_OK) == 0 else {
            return .failure(FolderProblem(reason: errorText(errno)))
        }
        var status = stat()
        guard stat(room, &status) == 0, (status.st_mode & S_IFMT) == S_IFDIR else {
            return .failure(FolderProblem(reason: errorText(ENOTDIR)))
        }
        return .success(text(room))
    }

    struct FolderProblem: Error {
        var reason: String
    }

    // MARK: Sources

    /// RUSAGE_THREAD, which the C library shows to GNU sources only.
    private static let callingThread: Int32 = 1

    private static var pageSize: Int { Int(sysconf(Int32(_SC_PAGESIZE))) }

    /// `Linux 6.1.0 x86_64`.
    private static var operatingSystem: String {
        var name = utsname()
        guard uname(&name) == 0 else { return "Linux" }
        let parts = [
            withUnsafeBytes(of: name.sysname) { text(Array($0.bindMemory(to: CChar.self))) },
            withUnsafeBytes(of: name.release) { text(Array($0.bindMemory(to: CChar.self))) },
            withUnsafeBytes(of: name.machine) { text(Array($0.bindMemory(to: CChar.self))) },
        ]
        return parts.joined(separator: " ")
    }

    private static func linkTarget(_ path: String) -> String? {
        var room = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &room, room.count - 1)
        return count > 0 ? text(room) : nil
    }

    /// The second number of /proc/self/statm, in pages.
    private static var residentBytes: Int {
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try Syscalls.contents(ofFile: "/proc/self/statm")
        } catch {
            return 0
        }
        let words = String(decoding: bytes ?? [], as: UTF8.self).split(separator: " ")
        guard words.count > 1, let pages = Int(words[1]) else { return 0 }
        return pages * pageSize
    }

    private static func times(of who: __rusage_who) -> (user: Double, system: Double) {
        var usage = rusage()
        guard getrusage(__rusage_who_t(who.rawValue), &usage) == 0 else { return (0, 0) }
        return (seconds(usage.ru_utime), seconds(usage.ru_stime))
    }

    private static func seconds(_ time: timeval) -> Double {
        Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000
    }

    private static func text(_ characters: [CChar]) -> String {
        String(
            decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
