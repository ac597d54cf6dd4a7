// LOLWUT in process: the sizes of both pictures, the bounds, what is said beneath them.
import Base
import Testing

@Suite struct LolwutTests {
    private let server = CommandHarness()

    private func lines(_ words: String...) -> [Substring] {
        let text = server.run(["LOLWUT"] + words).text ?? ""
        return text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    @Test func theVersionAlone() {
        #expect(server.run("LOLWUT") == "Redis ver. 7.0.15\n")
        #expect(server.run("LOLWUT", "VERSION", "7") == "Redis ver. 7.0.15\n")
        #expect(server.run("LOLWUT", "VERSION", "x") == notInteger)
        #expect(server.run("LOLWUT", "VERSION") == "Redis ver. 7.0.15\n")
    }

    @Test func schotter() {
        let standard = lines("VERSION", "5")
        #expect(standard.first?.count == 66)
        #expect(standard[standard.count - 2].hasPrefix("Georg Nees - schotter"))
        #expect(lines("VERSION", "5", "1", "1", "1").first?.count == 1)
        #expect(lines("VERSION", "5", "99999", "-5", "1").first?.count == 1000)
        #expect(server.run("LOLWUT", "VERSION", "5", "x") == notInteger)
    }

    @Test func skyline() {
        let standard = lines("VERSION", "6")
        #expect(standard.count == 20 + 3)
        #expect(standard[20] == "Dedicated to the 8 bit game developers of past and present.")
        #expect(standard[21].hasSuffix("hikikomori. Redis ver. 7.0.15"))
        #expect(lines("VERSION", "6", "3", "2").count == 2 + 3)
        #expect(lines("VERSION", "6", "0", "-1").count == 1 + 3)
    }
}
