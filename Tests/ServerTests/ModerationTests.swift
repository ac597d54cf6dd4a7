// When the loop pauses so that clients come together, and that a lone client never waits for it.
import Base
import Server
import Testing

@Suite struct ModerationTests {
    /// Whether it pays after iterations that each read `together` of `clients` in turn, with
    /// `commands` each, `apart` microseconds from one to the next.
    private func pays(
        clients: Int, together: Int, commands: Int, apart: Int64 = 20, logs: Bool = false
    ) -> Bool {
        var table = RegistrationTable()
        let taken = (0..<clients).map { table.take(Int32($0), .client) }
        defer { for registration in taken { table.release(registration) } }
        var moderation = Moderation()
        var next = 0
        var total: Int64 = 1000
        for iteration in 0..<200 {
            let now = Instant(microseconds: 5_000_000 + Int64(iteration) * apart)
            moderation.begin(at: now, commands: total)
            for _ in 0..<together {
                moderation.noteRead(taken[next])
                next = (next + 1) % clients
                total += Int64(commands)
            }
            if logs { moderation.noteLogWrite() }
            moderation.end(commands: total)
        }
        return moderation.pays
    }

    @Test func pipelinesOfManyClientsThatComeOneByOne() {
        #expect(pays(clients: 50, together: 1, commands: 16))
        #expect(pays(clients: 50, together: 3, commands: 16))
    }

    @Test func notWhenManyAreThereAnyway() {
        #expect(!pays(clients: 50, together: 12, commands: 16))
        #expect(!pays(clients: 50, together: 50, commands: 16))
    }

    @Test func soonerWhereEachIterationWritesTheLog() {
        #expect(!pays(clients: 50, together: 10, commands: 16))
        #expect(pays(clients: 50, together: 10, commands: 16, logs: true))
        #expect(!pays(clients: 50, together: 20, commands: 16, logs: true))
    }

    @Test func notForSingleCommandsOrFewClients() {
        #expect(!pays(clients: 50, together: 1, commands: 1))
        #expect(!pays(clients: 1, together: 1, commands: 100))
        #expect(!pays(clients: 7, together: 1, commands: 100))
    }

    @Test func notWhenTimePassesBetweenThem() {
        #expect(!pays(clients: 50, together: 1, commands: 16, apart: 3000))
    }
}
