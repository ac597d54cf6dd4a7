// Events for descriptors that were closed, and whose number may be in use again, are recognised.
import Server
import Testing

@Suite struct RegistrationTests {
    @Test func aReleasedRegistrationIsNotFound() {
        var table = RegistrationTable()
        let first = table.take(7, .client)
        let token = first.pointee.token
        #expect(table.find(token) == first)
        table.release(first)
        #expect(table.find(token) == nil)
        let second = table.take(7, .client)
        #expect(second == first, "the place is used again")
        #expect(table.find(token) == nil, "but the old event is not for it")
        #expect(table.find(second.pointee.token) == second)
    }

    @Test func addressesStay() {
        var table = RegistrationTable()
        let taken = (0..<5000).map { table.take(Int32($0), .client) }
        let distinct = Set(taken)
        #expect(distinct.count == 5000)
        #expect(table.count == 5000)
        for registration in taken {
            #expect(table.find(registration.pointee.token) == registration)
            table.release(registration)
        }
        #expect(table.count == 0)
    }
}
