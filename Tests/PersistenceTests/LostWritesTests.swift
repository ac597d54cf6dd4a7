import Base
import Persistence
import Testing

@Suite struct LostWritesTests {
    @Test func format() {
        var file = LostWrites()
        var out = Buffer()
        file.header(
            LostWrites.Origin(
                node: "n1\r\n\"", replicationID: "abc", firstOffset: 10, lastOffset: 40,
                successorID: "def", savedAt: 1_700_000_000), into: &out)
        file.command(database: 0, [Bytes("SET"), Bytes("k"), Bytes("v")], into: &out)
        file.command(database: 0, [Bytes("DEL"), Bytes("k")], into: &out)
        file.command(database: 9, [Bytes("SET"), Bytes("k"), Bytes("")], into: &out)
        file.stream(startingIn: 9, Bytes("*1\r\n$4\r\nPING\r\n"), into: &out)
        file.command(database: 9, [Bytes("PING")], into: &out)
        let expected = [
            "#lost-writes node=n1-- replid=abc offsets=10-40 successor=def saved-at=1700000000",
            "*2", "$6", "SELECT", "$1", "0", "*3", "$3", "SET", "$1", "k", "$1", "v",
            "*2", "$3", "DEL", "$1", "k", "*2", "$6", "SELECT", "$1", "9",
            "*3", "$3", "SET", "$1", "k", "$0", "", "*1", "$4", "PING",
            "*2", "$6", "SELECT", "$1", "9", "*1", "$4", "PING", "",
        ]
        let text = out.bytes.string
        #expect(text == expected.joined(separator: "\r\n"))
        let commands = file.commands
        #expect(commands == 4)
    }
}
