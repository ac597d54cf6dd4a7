// Loading an append-only log: which files, in which order, their commands through the ordinary
// batch path, and what to do with an end that is not whole. The shell lends its files; everything
// that is decided is decided here, so that the simulator's nodes recover as real ones do. Texts of
// the log are the reference's where it has one.
import Base
import Engine
import Persistence
import RESP
import Scripting
import Storage

/// The node's files as a loader needs them: plain, synchronous, before anybody is served.
public protocol LogFiles {
    /// The size of a file; nil when there is none.
    mutating func size(_ path: String) throws(BootError) -> Int64?
    mutating func contents(_ path: String) throws(BootError) -> [UInt8]
    /// Gives the file piece by piece; false when the process is to end.
    mutating func read(
        _ path: String, _ piece: (Bytes) throws(BootError) -> Void
    ) throws(BootError) -> Bool
    /// At most `limit` bytes from `offset` on.
    mutating func tail(
        _ path: String, from offset: Int64, limit: Int
    ) throws(BootError) -> [UInt8]
    /// Copies what follows `offset` to the file `kept`, syncs it, and cuts it off.
    mutating func cut(_ path: String, at offset: Int64, keeping kept: String) throws(BootError)
    /// Makes the file and its name durable.
    mutating func settle(_ path: String) throws(BootError)
    mutating func createFolder(_ path: String) throws(BootError)
    mutating func replace(_ path: String, _ contents: [UInt8]) throws(BootError)
    mutating func move(_ path: String, to new: String) throws(BootError)
}

/// The file that is being read.
struct LogReplay: ~Copyable {
    enum Form {
        case unknown
        case preamble
        case commands
    }
    var form = Form.unknown
    var name: String
    var scanner: AOFScanner
    var fed: Int64 = 0
    let session: UnsafeMutablePointer<Session>
}

extension NodePointer {
    /// Loads the log if there is one. False when nothing was found to load; an error ends the
    /// start. Without an error the result says what `startLog` is to go on with.
    public func loadLog<F: LogFiles>(
        _ files: inout F
    ) throws(BootError) -> (loaded: LoadedLog, found: Bool) {
        var loaded = LoadedLog()
        loaded.manifest = try readManifest(&files)
        try upgradeOldLog(&files, &loaded)
        guard !loaded.manifest.isEmpty else { return (loaded, false) }
        let names = loaded.manifest.files.map(\.name)
        var sizes: [Int64] = []
        for name in names {
            guard let size = try files.size(logPath(name)) else {
                throw BootError(
                    "Fatal error: can't open the append log file \(name) for reading: No such "
                        + "file or directory")
            }
            sizes.append(size)
        }
        loaded.size = sizes.reduce(0, +)
        loaded.baseSize = loaded.manifest.base == nil ? 0 : sizes[0]
        beginReplay(totalBytes: loaded.size)
        defer { endReplay() }
        for (index, name) in names.enumerated() {
            let isBase = index == 0 && loaded.manifest.base != nil
            let began = instant
            // A power cut may come when the next file is there, and before it was written to.
            let isLast = sizes[(index + 1)...].allSatisfy { $0 == 0 }
            let cut = try replayFile(&files, name, size: sizes[index], isLast: isLast)
            guard let cut else { return (loaded, true) }
            // What follows must not outlast it; the last one is synced when the log goes on.
            if !isBase, index < names.count - 1 { try files.settle(logPath(name)) }
            sizes[index] -= cut
            loaded.size -= cut
            let seconds = Double(Swift.max(0, instant.microseconds - began.microseconds)) / 1e6
            log(
                .notice,
                "DB loaded from \(isBase ? "base" : "incr") file \(name): "
                    + "\(thousandths(seconds)) seconds")
        }
        loaded.lastSize = loaded.manifest.increments.isEmpty ? 0 : (sizes.last ?? 0)
        return (loaded, true)
    }

    private func readManifest<F: LogFiles>(
        _ files: inout F
    ) throws(BootError) -> AOFManifest {
        guard try files.size(manifestPath) != nil else { return AOFManifest() }
        let contents = try files.contents(manifestPath)
        // Files that it no longer needs are about to be removed.
        try files.settle(manifestPath)
        do throws(AOFManifestError) {
            return try AOFManifest(parsing: contents)
        } catch {
            log(.warning, "*** FATAL AOF MANIFEST FILE ERROR ***")
            if let line = error.line {
                log(.warning, "Reading the manifest file, at line \(line)")
                log(.warning, ">>> '\(error.text)'")
            }
            throw BootError(error.reason)
        }
    }

    /// A log of one file, as servers before 7.0 wrote it, moves into the folder as a base.
    private func upgradeOldLog<F: LogFiles>(
        _ files: inout F, _ loaded: inout LoadedLog
    ) throws(BootError) {
        let name = settings.appendFilename
        guard try files.size(name) != nil else { return }
        let isInterrupted =
            loaded.manifest.increments.isEmpty && loaded.manifest.base?.name == name
            ? try files.size(logPath(name)) == nil : false
        guard loaded.manifest.isEmpty || isInterrupted else { return }
        try files.createFolder(settings.appendFolder)
        loaded.manifest.adopt(oldFile: name)
        // The manifest first: a start that is interrupted in between goes on here.
        try files.replace(manifestPath, loaded.manifest.contents)
        try files.move(name, to: logPath(name))
        log(
            .notice,
            "Successfully migrated an old-style AOF file (\(name)) into the AOF directory "
                + "(\(settings.appendFolder)).")
    }

    // MARK: Replay

    func beginReplay(totalBytes: Int64) {
        pointee.loader.isBlocking = true
        pointee.loader.keepsExpired = true
        pointee.loader.started = instant
        pointee.loader.total = totalBytes
        pointee.loader.bytes = 0
        pointee.loader.keys = 0
        pointee.loader.expired = 0
        pointee.loader.emptyKeys = 0
        pointee.loader.savedID = nil
        pointee.loader.savedOffset = nil
        updateAlerts()
    }

    func endReplay() {
        closeReplay()
        pointee.loader.reader = nil
        pointee.loader.isBlocking = false
        pointee.loader.keepsExpired = false
        executor.pointee.dirty = 0
        var keys: Int64 = 0
        let keyspace = executor.pointee.keyspace
        for database in 0..<keyspace.databaseCount {
            keys += Int64(keyspace.count(database: database))
        }
        pointee.persistence.loadedKeys = keys
        keepHistoryAfterReplay()
        updateAlerts()
    }

    private func closeReplay() {
        guard let session = pointee.log.replay?.session else { return }
        pointee.log.replay = nil
        executor.freeSession(session)
    }

    /// Replays one file; returns how many bytes were cut off its end, nil when the process is to
    /// end.
    private func replayFile<F: LogFiles>(
        _ files: inout F, _ name: String, size: Int64, isLast: Bool
    ) throws(BootError) -> Int64? {
        closeReplay()
        let session = executor.openSession(peer: "", local: "")
        executor.makeSuperuser(session)
        session.pointee.flags.formUnion([.fromPrimary, .fromLog, .detached])
        pointee.log.replay = LogReplay(
            name: name, scanner: AOFScanner(largestString: settings.maxBulkLength),
            session: session)
        let goesOn = try files.read(logPath(name)) { piece throws(BootError) in
            try replay(piece)
        }
        guard goesOn else { return nil }
        return try endFile(&files, name, size: size, isLast: isLast)
    }

    private func replay(_ piece: Bytes) throws(BootError) {
        guard let form = pointee.log.replay?.form, !piece.isEmpty else { return }
        pointee.log.replay?.fed += Int64(piece.count)
        switch form {
        case .unknown:
            let isRDB = piece[0] == UInt8(ascii: "R")
            pointee.log.replay?.form = isRDB ? .preamble : .commands
            if isRDB { openReader() }
            pointee.log.replay?.fed -= Int64(piece.count)
            try replay(piece)
        case .preamble: try replayPreamble(piece)
        case .commands:
            pointee.loader.bytes += Int64(piece.count)
            pointee.log.replay?.scanner.feed(piece)
            try runScanned()
        }
    }

    private func replayPreamble(_ piece: Bytes) throws(BootError) {
        do throws(RDBError) {
            try take(piece, into: executor.pointee.keyspace)
        } catch {
            let name = pointee.log.replay?.name ?? ""
            throw BootError(
                "Error reading the RDB preamble of the AOF file \(name), AOF loading aborted: "
                    + "\(error)")
        }
        guard pointee.loader.reader?.isComplete == true else { return }
        let rest = pointee.loader.reader?.rest.array ?? []
        pointee.loader.reader = nil
        let offset = (pointee.log.replay?.fed ?? 0) - Int64(rest.count)
        pointee.log.replay?.form = .commands
        pointee.log.replay?.scanner = AOFScanner(
            at: offset, largestString: settings.maxBulkLength)
        rest.withBytes { pointee.log.replay?.scanner.feed($0) }
        try runScanned()
    }

    /// Runs what the scanner has, in batches.
    private func runScanned() throws(BootError) {
        guard let session = pointee.log.replay?.session else { return }
        let commands = executor.pointee.commands
        let input = session.pointee.input
        while let item = pointee.log.replay?.scanner.next() {
            guard case .command(let name, let bytes) = item else { continue }
            guard commands.pointee.find(name) != nil else {
                throw BootError(
                    "Unknown command '\(name.string)' reading the append only file "
                        + (pointee.log.replay?.name ?? ""))
            }
            input.pointee.append(bytes)
            if input.pointee.count > 32 << 10 { executor.process(session) }
        }
        executor.process(session)
    }

    // MARK: The end of a file

    private func endFile<F: LogFiles>(
        _ files: inout F, _ name: String, size: Int64, isLast: Bool
    ) throws(BootError) -> Int64 {
        if pointee.log.replay?.form == .preamble {
            throw BootError(
                "Error reading the RDB preamble of the AOF file \(name), AOF loading aborted: "
                    + "it ends too early")
        }
        guard pointee.log.replay?.form == .commands,
            let offset = pointee.log.replay?.scanner.wholeUpTo, offset < size
        else { return 0 }
        let bound = Int64(settings.logRepairBound)
        let tail = try files.tail(
            logPath(name), from: offset, limit: Int(clamping: Swift.max(bound, 1 << 20) + 4096))
        let verdict = tail.withBytes { tail in
            judge(tail, size: size, bound: bound)
        }
        switch verdict {
        case .whole: return 0
        case .refuse(let cut, let isBeyondBound):
            throw BootError(refusal(name, cut, isBeyondBound: isBeyondBound))
        case .cut(let cut):
            guard isLast else {
                throw BootError("Fatal error: the truncated file is not the last file")
            }
            try carryOut(&files, name, cut)
            return cut.bytes
        }
    }

    private func judge(_ tail: Bytes, size: Int64, bound: Int64) -> TailRepair.Verdict {
        // A transaction that never ends is dropped with what it had queued.
        if let session = pointee.log.replay?.session { executor.discardTransaction(session) }
        let allows = settings.logLoadTruncated
        guard let replay = pointee.log.replay.take() else { return .whole }
        let verdict = TailRepair.judge(
            replay.scanner, size: size, tail: tail, allowsTruncated: allows, bound: bound)
        pointee.log.replay = consume replay
        return verdict
    }

    private func carryOut<F: LogFiles>(
        _ files: inout F, _ name: String, _ cut: TailRepair.Cut
    ) throws(BootError) {
        let kept = TailRepair.keptName(
            of: name, offset: cut.offset, at: now.wall.milliseconds)
        if cut.finding == .truncated {
            log(.warning, "!!! Warning: short read while loading the AOF file \(name)!!!")
        } else {
            let what = cut.finding == .zeroFilled ? "zeros" : "a torn write"
            log(.warning, "!!! Warning: the AOF file \(name) ends with \(what) !!!")
        }
        log(.warning, "!!! Truncating the AOF \(name) at offset \(cut.offset) !!!")
        try files.cut(logPath(name), at: cut.offset, keeping: logPath(kept))
        pointee.log.cutBytes += cut.bytes
        pointee.log.cutCommands += cut.commands
        log(
            .warning,
            "AOF \(name) loaded anyway because aof-load-truncated is enabled: \(cut.bytes) bytes "
                + "(parts of \(cut.commands) commands) from offset \(cut.offset) on were dropped "
                + "and kept in \(kept)")
    }

    private func refusal(
        _ name: String, _ cut: TailRepair.Cut, isBeyondBound: Bool
    ) -> String {
        let repair = "run martlet-server --repair \(manifestPath) after a backup."
        if isBeyondBound {
            return "Bad file format reading the append only file \(name): \(cut.bytes) bytes from "
                + "offset \(cut.offset) on are damaged, more than aof-load-corrupt-tail-max-size "
                + "allows to drop. Raise it, or \(repair)"
        }
        if cut.finding == .truncated {
            return "Unexpected end of file reading the append only file \(name). You can: 1) Make "
                + "a backup of your AOF file, then use ./redis-check-aof --fix "
                + "<filename.manifest>, or \(repair) 2) Alternatively you can set the "
                + "'aof-load-truncated' configuration option to yes and restart the server."
        }
        return "Bad file format reading the append only file \(name): make a backup of your AOF "
            + "file, then use ./redis-check-aof --fix <filename.manifest>, or \(repair) The damage "
            + "begins behind offset \(cut.offset)."
    }

    private func thousandths(_ seconds: Double) -> String {
        let count = Int((seconds * 1000).rounded())
        let digits = String(count % 1000)
        return "\(count / 1000)." + String(repeating: "0", count: 3 - digits.count) + digits
    }

    // MARK: DEBUG LOADAOF

    /// Replaces the data by what the files hold; what is wrong otherwise.
    public func reloadLog<F: LogFiles>(_ files: inout F) -> String? {
        let keyspace = executor.pointee.keyspace
        for database in 0..<keyspace.databaseCount { keyspace.flush(database: database) }
        scripts.flushLibraries()
        do throws(BootError) {
            let (loaded, _) = try loadLog(&files)
            pointee.log.manifest = loaded.manifest
            removeHistory()
        } catch {
            endReplay()
            log(.warning, error.text)
            return error.text
        }
        executor.pointee.watch.touchAll(database: -1)
        executor.databaseChanged(-1)
        log(.warning, "Append Only File loaded by DEBUG LOADAOF")
        return nil
    }

    /// DEBUG LOADAOF goes on once the files hold everything that was written.
    func reloadLogWhenWritten() {
        let isWritten =
            !logIsOn
            || (pointee.log.written == executor.pointee.log.pointee.end
                && pointee.log.flight == nil && pointee.log.change == nil)
        guard isWritten, !pointee.log.reloading.isEmpty, !pointee.log.isStopping,
            pointee.log.rewrite == nil || pointee.log.rewrite?.stage == .walking
        else { return }
        let waiting = pointee.log.reloading
        pointee.log.reloading = []
        var problem: String? = "this process cannot read its files"
        if let reload = pointee.admin.reloadLog { problem = reload() }
        for id in waiting {
            guard let session = executor.pointee.sessions.find(id: id) else { continue }
            if problem == nil {
                session.pointee.output.pointee.append("+OK\r\n")
            } else {
                executor.writeError(
                    session, "ERR Error trying to load the AOF files, check server logs.")
            }
            executor.unblock(session)
        }
    }
}
