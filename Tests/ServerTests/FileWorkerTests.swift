// The file thread: order, atomic replacement, failures that are reported once and late, the lock.
import NodeCore
import Server
import Testing

/// Carries out jobs and returns the answers, by ticket.
private func answers(to jobs: [FileJob], lock: FileLock? = nil) throws -> [UInt64: FileFailure?] {
    let mailbox = Mailbox<JobAnswer>(blocking: false)
    let worker = try FileWorker(lock: lock, answers: mailbox)
    for job in jobs { worker.post(job) }
    worker.finish()
    var found: [UInt64: FileFailure?] = [:]
    for answer in mailbox.wait() {
        if case .fileDone(let ticket, let failure) = answer {
            #expect(found[ticket] == nil, "a ticket is answered once")
            found[ticket] = .some(failure)
        }
    }
    return found
}

@Suite struct FileWorkerTests {
    @Test(arguments: [false, true])
    func replacingIsWhole(sync: Bool) throws {
        let folder = Folder()
        let path = folder.write("nodes.conf", "old and longer")
        let done = try answers(to: [
            .request(.replace(name: path, contents: Array("new".utf8), sync: sync, ticket: 1))
        ])
        #expect(done[1] == .some(nil))
        #expect(folder.read("nodes.conf") == "new")
        #expect(folder.names == ["nodes.conf"], "no temporary file stays")
    }

    @Test func ofManyVersionsTheLastIsWrittenAndAllAreAnswered() throws {
        let folder = Folder()
        let path = folder / "nodes.conf"
        let versions = (1...200).map { version in
            FileJob.request(
                .replace(
                    name: path, contents: Array("\(version)".utf8), sync: version % 7 == 0,
                    ticket: UInt64(version)))
        }
        let done = try answers(to: versions)
        #expect(done.count == 200)
        #expect(done.values.allSatisfy { $0 == nil })
        #expect(folder.read("nodes.conf") == "200")
    }

    @Test func aFileAppearsOnlyByItsCommit() throws {
        let folder = Folder()
        let path = folder.write("dump.rdb", "old")
        let begun: [FileJob] = [
            .request(.create(file: 1, name: path)),
            .request(.append(file: 1, bytes: Array("ab".utf8))),
            .request(.checkpoint(file: 1, ticket: 1)),
        ]
        #expect(try answers(to: begun)[1] == .some(nil))
        #expect(folder.read("dump.rdb") == "old")
        let finished = try answers(
            to: begun + [
                .request(.append(file: 1, bytes: Array("cd".utf8))),
                .request(.commit(file: 1, name: path, ticket: 2)),
            ])
        #expect(finished[2] == .some(nil))
        #expect(folder.read("dump.rdb") == "abcd")
    }

    @Test func aDiscardedFileLeavesNothing() throws {
        let folder = Folder()
        _ = try answers(to: [
            .request(.create(file: 1, name: folder / "dump.rdb")),
            .request(.append(file: 1, bytes: [1])),
            .request(.discard(file: 1)),
        ])
        #expect(folder.names.isEmpty)
    }

    @Test func theCommitReportsTheFirstError() throws {
        let done = try answers(to: [
            .request(.create(file: 1, name: "/nonexistent/folder/dump.rdb")),
            .request(.append(file: 1, bytes: [1])),
            .request(.checkpoint(file: 1, ticket: 1)),
            .request(.commit(file: 1, name: "/nonexistent/folder/dump.rdb", ticket: 2)),
        ])
        #expect(done[1]??.operation == "open")
        #expect(done[2]??.operation == "open")
        #expect(done[2]??.reason == "No such file or directory")
    }

    @Test func whatCannotBeReplacedStays() throws {
        let folder = Folder()
        let done = try answers(to: [
            .request(.replace(name: folder.path, contents: [1], sync: false, ticket: 1))
        ])
        #expect(done[1]??.operation == "rename")
        #expect(folder.names.isEmpty)
    }

    @Test func aLockedFileHasOneOwnerAlsoAfterReplacement() throws {
        let folder = Folder()
        let path = folder / "nodes.conf"
        let lock = try FileLock(path: path)
        #expect(throws: FileLock.Failure.taken) { try FileLock(path: path) }
        _ = try answers(
            to: (1...3).map {
                .request(.replace(name: path, contents: [UInt8($0)], sync: false, ticket: $0))
            }, lock: lock)
        #expect(throws: FileLock.Failure.taken) { try FileLock(path: path) }
    }
}
