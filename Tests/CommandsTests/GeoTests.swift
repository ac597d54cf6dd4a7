// Positions: known places and distances, shapes, stores, refusals.
import Base
import Commands
import Engine
import RESP
import Storage
import Testing

@Suite struct GeoTests {
    private let server = CommandHarness()

    init() {
        server.run(
            "GEOADD",
            "s",
            "13.361389",
            "38.115556",
            "Palermo",
            "15.087269",
            "37.502669",
            "Catania"
        )
    }

    @Test func placesKeepTheirPositions() {
        #expect(server.run("ZSCORE", "s", "Palermo") == "3479099956230698")
        #expect(
            server.run("GEOPOS", "s", "Palermo", "nowhere")
                == .array([.array(["13.36138933897018433", "38.11555639549629859"]), .null])
        )
        #expect(
            server.run("GEOHASH", "s", "Palermo", "Catania", "nowhere")
                == .array(["sqc8b49rny0", "sqdtr74hyu0", .null])
        )
        server.run("HELLO", "3")
        #expect(
            server.run("GEOPOS", "s", "Palermo")
                == .array([
                    .array([.double("13.36138933897018433"), .double("38.11555639549629859")])
                ])
        )
    }

    @Test func distancesInEveryUnit() {
        for (unit, distance) in [
            ("m", "166274.1516"), ("KM", "166.2742"), ("mi", "103.3182"), ("ft", "545518.8700"),
        ] {
            #expect(
                server.run("GEODIST", "s", "Palermo", "Catania", unit) == .bulk(distance)
            )
        }
        #expect(server.run("GEODIST", "s", "Palermo", "Palermo") == "0.0000")
        #expect(server.run("GEODIST", "s", "Palermo", "nowhere") == .null)
    }

    @Test func circlesAndBoxes() {
        #expect(
            server.run("GEORADIUS", "s", "15", "37", "200", "km", "WITHDIST", "DESC")
                == .array([
                    .array(["Palermo", "190.4424"]), .array(["Catania", "56.4413"]),
                ])
        )
        #expect(
            server.run(
                "GEOSEARCH",
                "s",
                "FROMLONLAT",
                "15",
                "37",
                "BYBOX",
                "400",
                "400",
                "km",
                "ASC"
            )
                == .array(["Catania", "Palermo"])
        )
        #expect(
            server.run(
                "GEORADIUSBYMEMBER",
                "s",
                "Catania",
                "200",
                "km",
                "WITHHASH",
                "COUNT",
                "1"
            )
                == .array([.array(["Catania", 3_479_447_370_796_909])])
        )
        #expect(
            server.run("GEOSEARCHSTORE", "d", "s", "FROMMEMBER", "Palermo", "BYRADIUS", "1", "m")
                == 1
        )
        #expect(server.run("ZSCORE", "d", "Palermo") == "3479099956230698")
        #expect(
            server.run("GEORADIUS", "s", "15", "37", "200", "km", "STOREDIST", "d") == 2
        )
        #expect(server.run("ZRANGE", "d", "0", "-1") == .array(["Catania", "Palermo"]))
        #expect(
            server.run("GEOSEARCHSTORE", "d", "none", "FROMMEMBER", "x", "BYRADIUS", "1", "m")
                == 0
        )
        #expect(server.run("EXISTS", "d") == 0)
    }

    /// What a search finds is what measuring every member finds.
    @Test(arguments: Array(1...6) as [UInt64])
    func searchesMissNothing(seed: UInt64) {
        var prng = Prng(seed: seed)
        func degrees(_ limit: Int) -> Double {
            Double(prng.below(2 * limit * 10_000) - limit * 10_000) / 10_000
        }
        for index in 0..<400 {
            server.run("GEOADD", "g", "\(degrees(180))", "\(degrees(85))", "p\(index)")
        }
        for _ in 0..<30 {
            let (x, y) = (degrees(170), degrees(60))
            let radius = prng.below(3_000) + 1
            server.run("GEOADD", "g", "\(x)", "\(y)", "center")
            let found = server.run(
                "GEOSEARCH",
                "g",
                "FROMMEMBER",
                "center",
                "BYRADIUS",
                "\(radius)",
                "km"
            )
            var expected: Set<String> = ["center"]
            for index in 0..<400 {
                let distance = server.run("GEODIST", "g", "center", "p\(index)", "km").text
                if let value = distance.flatMap(Double.init), value <= Double(radius) {
                    expected.insert("p\(index)")
                }
            }
            // Across the edge of the map, where 180 meets -180, the reference finds less.
            if x.magnitude + Double(radius) / 40 < 180 {
                #expect(Set(found.elements.compactMap(\.text)) == expected)
            }
        }
    }

    @Test(arguments: [
        (
            ["GEOADD", "s", "181", "1", "a"],
            "ERR invalid longitude,latitude pair 181.000000,1.000000"
        ),
        (["GEOADD", "s", "x", "1", "a"], "ERR value is not a valid float"),
        (["GEOADD", "s", "NX", "XX", "1", "1", "a"], "ERR syntax error"),
        (["GEOADD", "s", "1", "1", "a", "b"], "ERR syntax error"),
        (
            ["GEODIST", "s", "a", "b", "yd"],
            "ERR unsupported unit provided. please use M, KM, FT, MI"
        ),
        (["GEORADIUS", "s", "1", "1", "x", "km"], "ERR need numeric radius"),
        (["GEORADIUS", "s", "1", "1", "-1", "km"], "ERR radius cannot be negative"),
        (["GEORADIUS", "s", "1", "1", "1", "km", "COUNT", "0"], "ERR COUNT must be > 0"),
        (
            ["GEORADIUS", "s", "1", "1", "1", "km", "ANY"],
            "ERR the ANY argument requires COUNT argument"
        ),
        (["GEORADIUS_RO", "s", "1", "1", "1", "km", "STORE", "d"], "ERR syntax error"),
        (
            ["GEORADIUS", "s", "1", "1", "1", "km", "STORE", "d", "WITHDIST"],
            """
            ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD \
            options
            """
        ),
        (
            ["GEORADIUSBYMEMBER", "s", "nowhere", "1", "km"],
            "ERR could not decode requested zset member"
        ),
        (
            ["GEOSEARCH", "s", "BYRADIUS", "1", "m", "ASC", "DESC"],
            "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH"
        ),
        (
            ["GEOSEARCH", "s", "FROMLONLAT", "1", "1", "ASC", "DESC"],
            "ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH"
        ),
        (["GEOSEARCH", "s", "FROMLONLAT", "1", "1", "FROMMEMBER", "a"], "ERR syntax error"),
        (
            ["GEOSEARCH", "s", "FROMLONLAT", "1", "1", "BYBOX", "1", "-1", "m"],
            "ERR height or width cannot be negative"
        ),
    ])
    func refusals(words: [String], error: String) {
        #expect(server.run(words) == .error(error))
    }
}
