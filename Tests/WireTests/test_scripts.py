"""Scripts and functions: against redis-server script by script, and what only a server can show:
propagation, the log, busy scripts, clusters, ready-made clients."""

# cost: 60
import hashlib
import time
import unittest

from differential import Pair, difference, show, start_pair
from harness import (
    SharedServer,
    WireTest,
    key_slot,
    needs_redis,
    wait_until,
)
from harness import OURS, REDIS

try:
    import redis
except ImportError:  # redis-py is missing; scripts/test brings it
    redis = None

# Each is run with the keys k1 k2 and the arguments a1 2 "".
SCRIPTS = r"""
return 1
return 3.99
return -3.99
return 1e18
return 'text'
return ''
return true
return false
return nil
return
return {}
return {1,2,3}
return {1,nil,3}
return {1,{2,{3,{}}},'x',true,false}
return {1.5,'1.5'}
return {ok='fine'}
return {ok='two\r\nlines'}
return {err='ERR mine'}
return {err='mine'}
return {err='-mine too'}
return {err='two\r\nlines'}
return {ok=1}
return {err=1}
return {double=3.25}
return {double=1/0}
return {double='x'}
return {big_number='12345678901234567890'}
return {map={a=1}}
return {map={[1]=2}}
return {set={a=true}}
return {set={}}
return {map={}}
return {map=1}
return {verbatim_string={format='txt',string='hello'}}
return {verbatim_string={format='txt'}}
return {verbatim_string={string='x'}}
return {verbatim_string='x'}
return {a=1,2}
return redis.status_reply('GOOD')
return redis.error_reply('BAD thing')
return redis.error_reply('-BAD thing')
return redis.error_reply('BAD')
return redis.error_reply('ERR two\r\n')
return redis.error_reply(1)
return redis.error_reply('a','b')
return redis.error_reply()
return redis.status_reply()
return redis.status_reply({})
return redis.sha1hex('')
return redis.sha1hex('abc')
return redis.sha1hex()
return redis.sha1hex('a','b')
return redis.sha1hex(123)
return {KEYS[1],KEYS[2],KEYS[3]}
return {ARGV[1],ARGV[2],ARGV[3],#ARGV,#KEYS}
return redis.call('set',KEYS[1],'v')
return redis.call('get',KEYS[1])
return redis.call('get','missing')
return redis.call('incr',KEYS[1])
return redis.pcall('incr',KEYS[1])
return redis.pcall('incr',KEYS[1])['err']
return {redis.pcall('incr',KEYS[1])}
return redis.call()
return redis.pcall()
return redis.call({})
return redis.call('set','x',{})
return redis.call('set','x',nil)
return redis.call('set','x',true)
return redis.call('nosuchcommand')
return redis.pcall('nosuchcommand')
return redis.call('get')
return redis.call('get','a','b')
return redis.call('config','nosuch')
return redis.call('object')
return redis.call('config','get','x')
return redis.call('subscribe','x')
return redis.call('multi')
return redis.call('eval','return 1',0)
return redis.call('blpop','none',0)
return redis.call('brpop','none',0)
return redis.call('bzpopmin','none',0)
return redis.call('rpush','l',1,2,3)
return redis.call('lrange','l',0,-1)
return redis.call('blpop','l',0)
return redis.call('lpush',KEYS[1],1)
return redis.call('set','n',12345678901234567)
return redis.call('get','n')
return redis.call('set','n',0.1)
return redis.call('get','n')
return redis.call('set','n',1e100)
return redis.call('get','n')
return redis.call('set','n',-0.0)
return redis.call('get','n')
return redis.call('set','n',1/0)
return redis.call('get','n')
return redis.call('zadd','z',1.5,'a',2,'b')
return redis.call('zrange','z',0,-1,'withscores')
return redis.call('zscore','z','a')
redis.setresp(3) return redis.call('zscore','z','a')
redis.setresp(3) return redis.call('zrange','z',0,-1,'withscores')
redis.setresp(3) return redis.call('zscore','z','a').double
redis.setresp(3) redis.call('hset','h','f','v') return redis.call('hgetall','h')
redis.setresp(3) return redis.call('hgetall','h').map.f
return redis.call('hgetall','h')
redis.setresp(3) redis.call('sadd','s','m') return redis.call('smembers','s')
redis.setresp(3) return redis.call('smembers','s').set.m
redis.setresp(3) return redis.call('get','missing') == nil
redis.setresp(3) return redis.call('get','missing')
redis.setresp(2) return redis.call('get','missing')
redis.setresp(3) return true
redis.setresp(3) return false
redis.setresp(3) return {true,false,nil}
redis.setresp(4)
redis.setresp()
redis.setresp(2,3)
redis.setresp('x')
return redis.setresp(3)
redis.setresp(3) return redis.call('debug','protocol','double')
return redis.call('select',5)
redis.call('select',5) redis.call('set','five',5) return redis.call('get','five')
return redis.call('get','five')
return redis.call('select',99)
return redis.call('publish','c','m')
return redis.call('type','l')
return type(redis.call('ping'))
return redis.call('ping')
return redis.call('echo','a\0b')
return redis.set_repl(redis.REPL_ALL)
return redis.set_repl(redis.REPL_NONE)
return redis.set_repl(redis.REPL_AOF)
return redis.set_repl(redis.REPL_REPLICA)
return redis.set_repl(4)
return redis.set_repl()
return redis.set_repl(-1)
return {redis.REPL_NONE,redis.REPL_AOF,redis.REPL_SLAVE,redis.REPL_REPLICA,redis.REPL_ALL}
return {redis.LOG_DEBUG,redis.LOG_VERBOSE,redis.LOG_NOTICE,redis.LOG_WARNING}
return redis.log(redis.LOG_DEBUG,'x')
return redis.log()
return redis.log('x','y')
return redis.log(9,'y')
return redis.log(redis.LOG_DEBUG,1,2,{},'x')
return redis.replicate_commands()
return redis.breakpoint()
return redis.debug('x')
return redis.acl_check_cmd('set','x','y')
return redis.acl_check_cmd('nosuch')
return redis.acl_check_cmd()
return redis.REDIS_VERSION_NUM
return redis.REDIS_VERSION
return redis.register_function
return redis.nosuch
local t={} for k,v in pairs(redis) do t[#t+1]=k end table.sort(t) return t
return nosuch
nosuch=1
function nosuch() end
local x = nosuch.y
return _G.nosuch
_G.nosuch = 1
return rawget(_G,'nosuch')
return type(rawget(_G,'redis'))
rawset(_G,'x',1)
rawset(redis,'x',1)
redis.x = 1
redis.call = nil
string.x = 1
table.x = 1
math.x = 1
cjson.x = 1
cmsgpack.x = 1
bit.x = 1
struct.x = 1
coroutine.x = 1
KEYS[1] = 'mine' return KEYS[1]
KEYS = {}
ARGV = 1
setmetatable(_G, {})
setmetatable(redis, {})
return tostring(getmetatable(redis))
getmetatable(_G).__index = 1
getmetatable(_G).x = 1
return type(getmetatable(_G).__index)
table.insert(redis, 1)
table.remove(KEYS) return #KEYS
table.insert(nil, 1)
table.concat({1,{}},',')
return table.concat({1,2,'x'},'-')
return next({})
return type(next(_G))
return next({},1)
return {pairs({})}
return setmetatable({1,2},{__index=function() return 5 end})
return getmetatable(setmetatable({},{__metatable='locked'}))
setmetatable(setmetatable({},{__metatable='locked'}),{})
setmetatable(1,{})
setmetatable({},1)
return unpack({1,2,3})
return select('#',1,2,3)
return tonumber('0x10')
return tostring(1e15)
return tostring(0.1)
return tostring(100000000000000)
return 2^53
return 7 % 3
return ('x'):rep(3)
return ('hello'):find('l')
return string.format('%5.2f|%d|%s|%q',3.14159,42,'x','a"b')
return string.gsub('hello','l','L')
return string.byte('A')
return string.char(0,255)
return #string.rep('x',1000)
return {string.match('key=value','(%w+)=(%w+)')}
return math.floor(3.7)
return math.huge
return math.max(1,5,3)
return type(math.random())
return math.random(1)
return math.random(0)
return math.random(5,1)
return math.random(1,2,3)
math.randomseed(42) return {math.random(1000),math.random(1000),math.random(1000)}
math.randomseed(7) return {math.random(-10,10),math.random(100000)}
return type(os)
return type(io)
return type(require)
return print
return loadfile
return dofile
return debug
return module
return loadstring('return 1+1')()
return loadstring('return')
return {loadstring('x x')}
return {loadstring('\27Lua')}
return loadstring('return nosuch')()
loadstring('nosuch = 1')()
return load(function() return nil end)
return {load(function() return {} end)}
return pcall(error,'x')
return {pcall(error,'x')}
return {pcall(error)}
return {pcall(function() error('in') end)}
return {pcall(function() error('in',0) end)}
return {pcall(function() error({err='table'}) end)}
return {pcall(function() return redis.call('incr','l') end)}
return {pcall(redis.call,'nosuch')}
return {xpcall(function() error('x') end, function(e) return 'handled ' .. e end)}
return {pcall(nil)}
return {pcall(function() return 1,2,3 end)}
error('plain')
error('plain',0)
error('two\nlines')
error({err='ERR from a table'})
error({err='CODE from a table'})
error(redis.error_reply('CODE by reply'))
error(1)
error(true)
error()
return assert(false)
return assert(false,'asserted')
return assert(1,2)
local function f() error('deep') end f()
local function f() return f() end return 1
local x = nil; return x.y
local x = nil; x.y = 1
return 1 + {}
return 1 .. {}
return {} < {}
return #5
return 1 < 'x'
syntax error here
return 'unfinished
return }
x = = 1
return 1 return 2
#!lua
#!lua flags=
#!lua
return coroutine.wrap(function() coroutine.yield(1) end)()
local c = coroutine.create(function() return redis.call('ping') end) return {coroutine.resume(c)}
local c = coroutine.create(function() error('in a coroutine') end) return {coroutine.resume(c)}
coroutine.yield(1)
return cjson.encode({})
return cjson.encode({1,2,3})
return cjson.encode({a={b={c='d'}}})
return cjson.encode('a"b\\c/\n\t\0é')
return cjson.encode({1.5,1e100,-0.5,123456789012345,0.1})
return cjson.encode({[1]=1,[3]=3})
return cjson.encode({[1]=1,[100]=1})
return cjson.encode({[1.5]=1})
return cjson.encode({[true]=1})
return cjson.encode(cjson.null)
return cjson.encode(1/0)
return cjson.encode(0/0)
return cjson.encode(print)
return cjson.encode(redis.call)
return cjson.encode()
return cjson.encode(1,2)
local t={} for i=1,1001 do t={t} end return cjson.encode(t)
return cjson.decode('[1,2,{"a":null,"b":[true,false]}]')
return cjson.decode('{"a":1}').a
return cjson.decode('"\\u00e9\\ud83d\\ude00"')
return cjson.decode('1.5e3')
return cjson.decode('0x10')
return cjson.decode('nan')
return cjson.decode('[1,]')
return cjson.decode('{')
return cjson.decode('')
return cjson.decode('[1] x')
return cjson.decode('"\\x"')
return cjson.decode('{"a" 1}')
return cjson.decode()
return cjson.decode({})
return cjson.decode(string.rep('[',1100))
return cjson.encode(cjson.decode('[]'))
return cjson.encode(cjson.decode('{}'))
return tostring(cjson.decode('[null]')[1])
return cjson.decode('[null]')[1] == cjson.null
return cjson.encode(cjson.decode('{"a":[1,2,{"x":"y"}]}'))
return cjson.decode('12345678901234567890')
return cjson._VERSION
return cjson.encode_keep_buffer()
return {cjson.encode_sparse_array()}
return cjson.encode_max_depth()
return cjson.decode_max_depth()
return cjson.encode_number_precision()
return cjson.encode_invalid_numbers()
return cjson.new().encode({1})
return cmsgpack.pack(1,-1,127,128,255,256,65535,65536,4294967295,4294967296)
return cmsgpack.pack(-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649)
return cmsgpack.pack(1.5,0.1,1e300,true,false,nil)
return cmsgpack.pack('',('x'):rep(31),('x'):rep(32),('x'):rep(256))
return cmsgpack.pack(('x'):rep(65536)):sub(1,10)
return cmsgpack.pack({},{1,2,3},{a=1},{[1]=1,[3]=3},{{},{{}}})
local t={} for i=1,20 do t[i]=i end return cmsgpack.pack(t)
local t={} for i=1,70000 do t[i]=1 end return cmsgpack.pack(t):sub(1,8)
local t={} for i=1,40 do t={t} end return cmsgpack.pack(t)
return cmsgpack.pack()
return cmsgpack.pack(redis.call)
return {cmsgpack.unpack(cmsgpack.pack(1,-1,300,-300,70000,-70000,'text',true,false))}
return {cmsgpack.unpack(cmsgpack.pack({1,{2,{3}}},{a='b'}))}
return cmsgpack.unpack(cmsgpack.pack({a={b='c'}})).a.b
return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3))}
return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3),1)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),2)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),2,1)}
return cmsgpack.unpack("\255")
return cmsgpack.unpack('')
return {cmsgpack.unpack('\204')}
return {cmsgpack.unpack('\193')}
return {cmsgpack.unpack('\219\255\255\255\255')}
return {cmsgpack.unpack('\217\200')}
return {cmsgpack.unpack('\207\255\255\255\255\255\255\255\255')}
return {cmsgpack.unpack('\211\255\255\255\255\255\255\255\255')}
return cmsgpack.unpack_one('abc',5)
return cmsgpack.unpack_one('abc',-1)
return cmsgpack.unpack_limit('abc')
return cmsgpack.unpack(1)
return cmsgpack.unpack({})
return {cmsgpack._NAME,cmsgpack._VERSION,cmsgpack._COPYRIGHT,cmsgpack._DESCRIPTION}
return struct.pack('bBhHlLT',1,2,3,4,5,6,7)
return struct.pack('>bBhHiIlL',-1,255,-2,65535,-3,3,-4,4)
return struct.pack('<i1i2i3i4i5i8',1,2,3,4,5,6)
return struct.pack('fd',1.5,2.5)
return struct.pack('>fd',1.5,2.5)
return struct.pack('s','text')
return struct.pack('c3','text')
return struct.pack('c5','text')
return struct.pack('c0','text')
return struct.pack('!4bi',1,2)
return struct.pack('!8bd',1,2)
return struct.pack('!bxh',1,2)
return struct.pack('!3b',1)
return struct.pack('i33',1)
return struct.pack('i99999999999',1)
return struct.pack('q',1)
return struct.pack('b')
return struct.pack('b','x')
return struct.pack()
return struct.pack(' b b',1,2)
return {struct.unpack('bBhHlL',struct.pack('bBhHlL',-1,2,-3,4,-5,6))}
return {struct.unpack('>fd',struct.pack('>fd',1.5,2.5))}
return {struct.unpack('sb',struct.pack('sb','text',7))}
return {struct.unpack('bc0',struct.pack('bc0',4,'text'))}
return {struct.unpack('c0','x')}
return {struct.unpack('c2','x')}
return {struct.unpack('s','unended')}
return {struct.unpack('b','')}
return {struct.unpack('b','abc',3)}
return {struct.unpack('b','abc',4)}
return {struct.unpack('b','abc',0)}
return {struct.unpack('xb','ab')}
return {struct.unpack('!4bi','\1\0\0\0\2\0\0\0')}
return {struct.unpack('i8','\255\255\255\255\255\255\255\255')}
return {struct.unpack('I8','\255\255\255\255\255\255\255\255')}
return {struct.unpack('i3','\255\255\255')}
return struct.size('bhil')
return struct.size('!8bd')
return struct.size('s')
return struct.size('c0')
return struct.size('q')
return bit.band(0xff,0x0f)
return bit.bor(1,2,4)
return bit.bxor(0xff,0x0f)
return bit.bnot(0)
return bit.lshift(1,31)
return bit.rshift(-1,28)
return bit.arshift(-256,4)
return bit.rol(0x12345678,8)
return bit.ror(0x12345678,8)
return bit.bswap(0x12345678)
return bit.tobit(2^40+5)
return bit.tohex(255)
return bit.tohex(255,-4)
return bit.band()
return bit.band('x')
return collectgarbage('count') > 0
return collectgarbage('step')
return gcinfo() > 0
return _VERSION
return tostring(nil)
return type(newproxy)
local s = 0 for i=1,100 do s = s + i end return s
local t = {} t[1]='a' t[2]='b' t[4]='d' return t
local t={5,3,1} table.sort(t) return t
return {string.dump and 1 or 0}
local a = {} a[1] = a return 1
return redis.call('set',KEYS[1],ARGV[1],'ex',100,'get')
return redis.call('ttl',KEYS[1])
return redis.call('expire',KEYS[1],'x')
return redis.call('mget',KEYS[1],KEYS[2],'none')
return redis.call('sort','l','by','nosort','get','#')
return redis.call('xadd','st','1-1','f','v')
return redis.call('xrange','st','-','+')
return redis.call('xread','streams','st','0')
return redis.call('xread','block',0,'streams','st','$')
return redis.call('wait',0,0)
return redis.call('dbsize') > 0
return redis.call('flushall')
return redis.call('dbsize')
"""

FLAGGED = [
    "#!lua\nreturn 1",
    "#!lua flags=no-writes\nreturn redis.call('set','x',1)",
    "#!lua flags=no-writes\nreturn redis.pcall('set','x',1)",
    "#!lua flags=no-writes\nreturn redis.call('publish','x',1)",
    "#!lua flags=no-writes\nreturn redis.call('get','x')",
    "#!lua flags=allow-oom,allow-stale\nreturn redis.call('set','x',1)",
    "#!lua flags=nosuch\nreturn 1",
    "#!lua flags=no-writes,\nreturn 1",
    "#!lua name=x\nreturn 1",
    "#!lua  flags=no-writes   flags=allow-oom\nreturn 1",
    '#!lua "flags=no-writes"\nreturn 1',
    '#!lua "flags=no-writes\nreturn 1',
    "#!python\nreturn 1",
    "#!\nreturn 1",
    "#!lua",
    "#!lua flags=no-writes",
    "#!lua\n\nerror('at line three')",
    "#!lua\n\nreturn }",
    "#!luax\nreturn 1",
    "#!lua flags=allow-cross-slot-keys,no-cluster\nreturn 1",
]

LIBRARIES = [
    "#!lua name=a\nredis.register_function('f1',function(k,a) return {k,a} end)",
    "#!lua name=a\nredis.register_function('f1',function() return 1 end)",
    "#!lua name=b\nredis.register_function('f1',function() return 1 end)",
    "#!lua name=b\nredis.register_function('f2',function() return redis.call('set','x',1) end)",
    "#!lua name=c\nredis.register_function{function_name='f3',callback=function() return 3 end,"
    "flags={'no-writes'},description='a third'}",
    "#!lua name=d\nredis.register_function{function_name='f4',callback=function() "
    "return redis.call('set','x',1) end,flags={'no-writes'}}",
    "#!lua name=e\nredis.register_function{function_name='f5',callback=function() "
    "return nosuch end,flags={'allow-oom','allow-stale','no-cluster','allow-cross-slot-keys'}}",
    "#!lua name=x\nredis.register_function{function_name='g'}",
    "#!lua name=x\nredis.register_function{callback=function() end}",
    "#!lua name=x\nredis.register_function{function_name='g',callback=1}",
    "#!lua name=x\nredis.register_function{function_name=1,callback=function() end,flags=1}",
    "#!lua name=x\nredis.register_function{function_name={},callback=function() end}",
    "#!lua name=x\nredis.register_function{function_name='g',callback=function() end,flags={'n'}}",
    "#!lua name=x\nredis.register_function{function_name='g',callback=function() end,flags={{}}}",
    "#!lua name=x\nredis.register_function{function_name='g',callback=function() end,what=1}",
    "#!lua name=x\nredis.register_function{function_name='g',description={},callback=1}",
    "#!lua name=x\nredis.register_function('g')",
    "#!lua name=x\nredis.register_function('g',1)",
    "#!lua name=x\nredis.register_function({},function() end)",
    "#!lua name=x\nredis.register_function('g',function() end,1)",
    "#!lua name=x\nredis.register_function()",
    "#!lua name=x\nredis.register_function('g-h',function() end)",
    "#!lua name=x\nredis.register_function('',function() end)",
    "#!lua name=x\nredis.register_function('g',function() end) "
    "redis.register_function('g',function() end)",
    "#!lua name=x\nredis.call('set','x',1)",
    "#!lua name=x\nreturn math.random()",
    "#!lua name=x\na = 1",
    "#!lua name=x\nredis.x = 1",
    "#!lua name=x\nlocal function f() end",
    "#!lua name=x\nerror('while loading')",
    "#!lua name=x\nredis.setresp(3)",
    "#!lua name=x\nreturn }",
    "#!lua name=x",
    "#!lua name=x-y\nreturn 1",
    "#!lua name=\nreturn 1",
    "#!lua\nreturn 1",
    "#!lua name=x name=y\nreturn 1",
    "#!lua name=x flags=y\nreturn 1",
    "#!python name=x\nreturn 1",
    "return 1",
    "",
    "#!LUA NAME=f\nredis.register_function('f6',function() return redis.call('incr','s') end)",
    "#!lua name=g\nlocal n=0\nredis.register_function('f7',function() n=n+1 return n end)",
    "#!lua name=h\nlocal r=redis\nredis.register_function('f8',function() return r.sha1hex end)",
    "#!lua name=i\nredis.register_function('f9',function() redis.register_function('x',1) end)",
    "#!lua name=j\nredis.register_function('f10',function() x=1 end)",
    "#!lua name=k\nredis.register_function('f11',function(keys) return KEYS end)",
    "#!lua name=l\nredis.register_function('f12',function() error('in a function') end)",
    "#!lua name=m\nredis.register_function('f13',function() return math.abs(-1) end)",
    "#!lua name=n\nredis.register_function('f14',function() return redis.call('nosuch') end)",
]


@needs_redis
class DifferentialTests(WireTest):
    def compare(self, commands, protocol):
        ours, reference = start_pair(self, OURS, REDIS, enable_debug_command="yes")
        pair = Pair(ours, reference, protocol)
        self.addCleanup(pair.close)
        problems = []
        for command in commands:
            first, second = pair.both(*command)
            if first != second and not self.excused(first, second):
                problems.append(show(command) + difference(first, second, 200))
        self.assertFalse(problems, "%d differ\n" % len(problems) + "\n".join(problems))

    def excused(self, ours, reference):
        # Addresses of tables.
        marks = (b"table: 0x", b"function: 0x", b"userdata: 0x")
        return any(mark in ours and mark in reference for mark in marks)

    def evals(self):
        for script in SCRIPTS.strip("\n").split("\n"):
            yield ["EVAL", script.replace("\\n\\n", "\n"), 2, "k1", "k2", "a1", "2", ""]

    def test_scripts(self):
        self.compare(self.evals(), 2)

    def test_scripts_for_resp3(self):
        self.compare(self.evals(), 3)

    def test_flags(self):
        commands = []
        for script in FLAGGED:
            digest = hashlib.sha1(script.encode()).hexdigest()
            commands += [
                ["EVAL", script, 0],
                ["EVAL_RO", script, 0],
                ["EVALSHA", digest, 0],
                ["EVALSHA_RO", digest.upper(), 0],
                ["SCRIPT", "EXISTS", digest, digest.upper(), "x"],
                ["SCRIPT", "LOAD", script],
            ]
        self.compare(commands, 2)

    def test_arguments(self):
        digest = hashlib.sha1(b"return 1").hexdigest()
        self.compare(
            [
                ["EVAL", "return 1"],
                ["EVAL", "return 1", "x"],
                ["EVAL", "return 1", "-1"],
                ["EVAL", "return 1", "2", "k"],
                ["EVAL", "return 1", "1.0", "k"],
                ["EVALSHA", digest, "0"],
                ["EVALSHA", digest, "x"],
                ["EVALSHA", "short", "x"],
                ["EVALSHA", "f" * 40, "0"],
                ["EVALSHA_RO", digest, "0"],
                ["SCRIPT"],
                ["SCRIPT", "HELP"],
                ["SCRIPT", "NOSUCH"],
                ["SCRIPT", "LOAD"],
                ["SCRIPT", "LOAD", "return }"],
                ["SCRIPT", "LOAD", ""],
                ["SCRIPT", "EXISTS"],
                ["SCRIPT", "KILL"],
                ["SCRIPT", "FLUSH", "WHAT"],
                ["SCRIPT", "FLUSH", "SYNC", "x"],
                ["SCRIPT", "FLUSH", "ASYNC"],
                ["SCRIPT", "EXISTS", digest],
                ["SCRIPT", "DEBUG", "WHAT"],
                ["SCRIPT", "DEBUG", "NO"],
                ["FUNCTION"],
                ["FUNCTION", "HELP"],
                ["FUNCTION", "NOSUCH"],
                ["FUNCTION", "KILL"],
                ["FUNCTION", "LOAD", "WHAT", "x"],
                ["FUNCTION", "LOAD", "REPLACE"],
                ["FUNCTION", "DELETE", "none"],
                ["FUNCTION", "LIST", "WHAT"],
                ["FUNCTION", "LIST", "LIBRARYNAME"],
                ["FUNCTION", "LIST", "WITHCODE", "WITHCODE"],
                ["FUNCTION", "FLUSH", "WHAT"],
                ["FUNCTION", "FLUSH", "SYNC", "x"],
                ["FUNCTION", "RESTORE", "x"],
                ["FUNCTION", "RESTORE", "x", "WHAT"],
                ["FUNCTION", "RESTORE", "x", "FLUSH", "y"],
                ["FCALL", "none", "0"],
                ["FCALL", "none"],
                ["FCALL_RO", "none", "x"],
                ["FUNCTION", "STATS"],
                ["FUNCTION", "DUMP"],
            ],
            2,
        )

    def functions(self):
        for library in LIBRARIES:
            yield ["FUNCTION", "LOAD", library]
            yield ["FUNCTION", "LIST", "WITHCODE", "LIBRARYNAME", "a"]
        yield ["FUNCTION", "LOAD", "REPLACE", LIBRARIES[1]]
        yield ["FUNCTION", "LOAD", "REPLACE", LIBRARIES[2]]
        for name in ["f%d" % number for number in range(1, 16)]:
            yield ["FCALL", name, "1", "k", "a"]
            yield ["FCALL_RO", name, "1", "k", "a"]
            yield ["FCALL", name, "x"]
            yield ["FCALL", name, "2", "k"]
            yield ["FCALL", name, "-1", "k"]
        for name in "abcdefghi":
            yield ["FUNCTION", "LIST", "LIBRARYNAME", name]
        yield ["FUNCTION", "STATS"]
        yield ["FUNCTION", "DELETE", "a"]
        yield ["FCALL", "f1", "0"]

    def test_functions(self):
        self.compare(self.functions(), 2)

    def test_functions_for_resp3(self):
        self.compare(self.functions(), 3)

    def test_dumps_are_exchanged(self):
        ours, reference = start_pair(self, OURS, REDIS)
        library = LIBRARIES[0]
        for first, second in ((ours, reference), (reference, ours)):
            first.call("FUNCTION", "FLUSH")
            second.call("FUNCTION", "FLUSH")
            first.call("FUNCTION", "LOAD", library)
            payload = first.call("FUNCTION", "DUMP")
            self.assertEqual(second.call("FUNCTION", "RESTORE", payload), "OK")
            self.assertEqual(second.call("FCALL", "f1", "1", "k", "a"), [[b"k"], [b"a"]])
            reply = second.connect().ask("FUNCTION", "RESTORE", payload)
            self.assert_error(reply, "ERR Library a already exists")
            self.assertEqual(second.call("FUNCTION", "RESTORE", payload, "REPLACE"), "OK")
            self.assertEqual(second.call("FUNCTION", "RESTORE", payload, "FLUSH"), "OK")
        self.assertEqual(ours.call("FUNCTION", "DUMP"), reference.call("FUNCTION", "DUMP"))


def stream_of(server):
    """A connection that is sent what the server propagates."""
    connection = server.connect()
    connection.send("SYNC")
    header = connection.file.readline()
    while not header.strip():
        header = connection.file.readline()
    mark = header.strip()[1:]
    if mark.startswith(b"EOF:"):
        end = mark[4:]
        seen = b""
        while not seen.endswith(end):
            seen += connection.file.read(1)
    else:
        connection.file.read(int(mark))
    return connection


def next_commands(stream, count):
    """So many commands of the stream, without what keeps it alive."""
    found = []
    while len(found) < count:
        command = stream.read()
        if command[0].upper() not in (b"PING", b"REPLCONF", b"SELECT"):
            found.append([bytes(word) for word in command])
    return found


class PropagationTests(WireTest):
    def test_effects_are_one_transaction(self):
        server = self.server()
        stream = stream_of(server)
        server.call("EVAL", "redis.call('set','a',1) redis.call('incr','a') return 1", 0)
        server.call("EVAL", "return redis.call('set','b',1)", 0)
        server.call("EVAL", "return redis.call('get','b')", 0)
        server.call("SET", "end", 1)
        commands = next_commands(stream, 6)
        self.assertEqual(
            [b" ".join(command) for command in commands],
            [b"MULTI", b"set a 1", b"incr a", b"EXEC", b"set b 1", b"SET end 1"],
        )

    def test_random_effects_are_what_they_were(self):
        server = self.server()
        server.call("SADD", "s", 1, 2, 3)
        stream = stream_of(server)
        gone = server.call("EVAL", "return redis.call('spop','s')", 0)
        server.call("EVAL", "redis.call('set','x',1,'ex',100)", 0)
        first, second = next_commands(stream, 2)
        self.assertEqual(first[0].upper(), b"SREM")
        self.assertEqual(first[2], gone)
        self.assertEqual(second[3].upper(), b"PXAT")

    def test_set_repl(self):
        server = self.server(appendonly="yes")
        stream = stream_of(server)
        script = """
        redis.call('set','all',1)
        redis.set_repl(redis.REPL_NONE) redis.call('set','none',1)
        redis.set_repl(redis.REPL_AOF) redis.call('set','aof',1)
        redis.set_repl(redis.REPL_REPLICA) redis.call('set','replica',1)
        """
        server.call("EVAL", script, 0)
        server.call("SET", "end", 1)
        names = [c[1] for c in next_commands(stream, 5) if c[0].upper() == b"SET"]
        self.assertEqual(names, [b"all", b"replica", b"end"])
        server.terminate()
        server.start()
        self.assertEqual(sorted(server.call("KEYS", "*")), [b"all", b"aof", b"end"])

    def test_select_in_a_script(self):
        server = self.server()
        replica = self.server(replicaof="127.0.0.1 %d" % server.port)
        wait_until(lambda: replica.info()["master_link_status"] == "up", "the link")
        server.call(
            "EVAL", "redis.call('set','x',1) redis.call('select',3) redis.call('set','y',2)", 0)
        server.call("SET", "z", 3)
        wait_until(lambda: replica.call("GET", "z") == b"3", "the last key")
        with replica.connect() as connection:
            self.assertEqual(connection.call("GET", "x"), b"1")
            connection.call("SELECT", 3)
            self.assertEqual(connection.call("GET", "y"), b"2")

    def test_functions_reach_replicas_and_files(self):
        for preamble in ("yes", "no"):
            server = self.server(appendonly="yes", aof_use_rdb_preamble=preamble)
            server.call("FUNCTION", "LOAD", LIBRARIES[0])
            replica = self.server(replicaof="127.0.0.1 %d" % server.port)
            wait_until(lambda: replica.info()["master_link_status"] == "up", "the link")
            listed = [bytes(x) for x in replica.call("FUNCTION", "LIST")[0][:2]]
            self.assertEqual(listed, [b"library_name", b"a"])
            server.call("FUNCTION", "LOAD", LIBRARIES[4])
            wait_until(lambda: len(replica.call("FUNCTION", "LIST")) == 2, "the second library")
            server.call("BGREWRITEAOF")
            wait_until(
                lambda: server.info()["aof_rewrite_in_progress"] == "0"
                and server.info()["aof_rewrite_scheduled"] == "0", "the rewrite")
            server.call("FUNCTION", "DELETE", "a")
            server.terminate()
            server.start()
            with server.connect() as again:
                wait_until(lambda: again.ask("FCALL", "f3", 0) == 3, "the end of loading")
                self.assertEqual(len(again.call("FUNCTION", "LIST")), 1)

    def test_functions_in_rdb_files(self):
        server = self.server(save="900 1")
        server.call("FUNCTION", "LOAD", LIBRARIES[0])
        server.call("SET", "x", 1)
        server.call("SAVE")
        server.kill()
        server.start()
        self.assertEqual(server.call("FCALL", "f1", 1, "k", "a"), [[b"k"], [b"a"]])
        self.assertEqual(server.info()["number_of_libraries"], "1")

    @needs_redis
    def test_functions_between_servers(self):
        for first, second in ((self.server, self.redis), (self.redis, self.server)):
            primary = first()
            primary.call("FUNCTION", "LOAD", LIBRARIES[0])
            primary.call("SET", "x", 1)
            replica = second(replicaof="127.0.0.1 %d" % primary.port)
            wait_until(lambda: replica.info()["master_link_status"] == "up", "the link")
            self.assertEqual(len(replica.call("FUNCTION", "LIST")), 1)
            primary.call("FUNCTION", "LOAD", LIBRARIES[4])
            primary.call("EVAL", "redis.call('incr','x') redis.call('incr','x')", 0)
            wait_until(lambda: replica.call("GET", "x") == b"3", "the script's effects")
            self.assertEqual(len(replica.call("FUNCTION", "LIST")), 2)


class BusyTests(WireTest):
    def busy(self, *words, **directives):
        server = self.server(busy_reply_threshold="50", **directives)
        connection = server.connect(timeout=20)
        return server, connection

    def test_kill(self):
        server, connection = self.busy()
        connection.send("EVAL", "while true do end", 0)
        other = server.connect()
        wait_until(lambda: str(other.ask("PING")).startswith("BUSY"), "a busy server")
        self.assert_error(
            other.ask("FUNCTION", "KILL"),
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
            "NOSAVE.")
        self.assert_error(
            other.ask("SHUTDOWN"),
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
            "NOSAVE.")
        self.assertEqual(other.call("SCRIPT", "KILL"), "OK")
        self.assertIn("killed by user", str(connection.read()))
        self.assertEqual(connection.call("PING"), "PONG")
        self.assertEqual(other.call("PING"), "PONG")
        self.assert_error(
            other.ask("SCRIPT", "KILL"), "NOTBUSY No scripts in execution right now.")

    def test_pcall_does_not_save_it(self):
        server, connection = self.busy()
        connection.send(
            "EVAL", "local f = function() while 1 do redis.call('ping') end end "
            "while 1 do pcall(f) end", 0)
        other = server.connect()
        wait_until(lambda: str(other.ask("PING")).startswith("BUSY"), "a busy server")
        self.assertEqual(other.call("SCRIPT", "KILL"), "OK")
        self.assertIn("killed by user", str(connection.read()))

    def test_one_that_wrote_is_not_killed(self):
        server, connection = self.busy(appendonly="yes")
        server.call("SET", "kept", 1)
        connection.send("EVAL", "redis.call('set','x',1) while true do end", 0)
        other = server.connect()
        wait_until(lambda: str(other.ask("PING")).startswith("BUSY"), "a busy server")
        self.assertTrue(str(other.ask("SCRIPT", "KILL")).startswith("UNKILLABLE"))
        other.send("SHUTDOWN", "NOSAVE")
        wait_until(lambda: not server.alive, "the end of the process")
        server.start()
        self.assertEqual(server.call("KEYS", "*"), [b"kept"])

    def test_function(self):
        server, connection = self.busy()
        server.call(
            "FUNCTION", "LOAD",
            "#!lua name=l\nredis.register_function('f',function() while true do end end)")
        connection.send("FCALL", "f", 1, "k", "a")
        other = server.connect()
        wait_until(lambda: str(other.ask("PING")).startswith("BUSY"), "a busy server")
        self.assertTrue(str(other.ask("SCRIPT", "KILL")).startswith("BUSY"))
        running = other.call("FUNCTION", "STATS")[1]
        self.assertEqual(running[:3], [b"name", b"f", b"command"])
        self.assertEqual(running[3], [b"FCALL", b"f", b"1", b"k", b"a"])
        self.assertGreaterEqual(running[5], 50)
        self.assertEqual(other.call("FUNCTION", "KILL"), "OK")
        self.assertIn("killed by user", str(connection.read()))

    def test_many_clients_meanwhile(self):
        server, connection = self.busy()
        connection.send("EVAL", "local t = redis.call('time')[1] "
                        "while redis.call('time')[1] - t < 6 do for i=1,50000 do end end "
                        "return 'done'", 0)
        first = server.connect()
        wait_until(lambda: str(first.ask("PING")).startswith("BUSY"), "a busy server")
        for _ in range(20):
            with server.connect() as other:
                self.assertTrue(str(other.ask("SET", "x", "1")).startswith("BUSY"))
                self.assertEqual(other.call("MULTI"), "OK")
        waiting = server.connect()
        self.assertEqual(connection.read(), b"done")
        self.assertEqual(waiting.call("PING"), "PONG")
        self.assertEqual(first.call("PING"), "PONG")
        self.assertIsNone(first.call("GET", "x"))

    def test_the_caller_leaves(self):
        server, connection = self.busy()
        connection.send("EVAL", "while true do end", 0)
        other = server.connect()
        wait_until(lambda: str(other.ask("PING")).startswith("BUSY"), "a busy server")
        connection.close()
        other.ask("PING")
        self.assertEqual(other.call("SCRIPT", "KILL"), "OK")
        self.assertEqual(other.call("PING"), "PONG")

    def test_a_library_that_loads_for_ever(self):
        server = self.server()
        reply = server.connect().ask("FUNCTION", "LOAD", "#!lua name=l\nwhile true do end")
        self.assertIn("FUNCTION LOAD timeout", str(reply))


class ClusterTests(WireTest):
    def test_keys_of_scripts(self):
        cluster = self.cluster(nodes=3, replicas=0)
        tag = "{a}"
        port = cluster.primary_of(key_slot(b"{a}1"))
        mine = cluster.server(port).connect()
        other = next(s for s in cluster.servers if s.port != port).connect()
        script = "return redis.call('set',KEYS[1],ARGV[1])"
        self.assertEqual(mine.call("EVAL", script, 1, tag + "1", "v"), "OK")
        self.assertTrue(str(other.ask("EVAL", script, 1, tag + "1", "v")).startswith("MOVED "))
        self.assertTrue(
            str(mine.ask("EVAL", script, 2, tag + "1", "b", "v")).startswith("CROSSSLOT"))
        foreign = next(
            "k%d" % n for n in range(1000)
            if cluster.primary_of(key_slot(b"k%d" % n)) != port)
        near = next(
            "n%d" % n for n in range(1000)
            if cluster.primary_of(key_slot(b"n%d" % n)) == port
            and key_slot(b"n%d" % n) != key_slot(b"{a}1"))
        reply = mine.ask("EVAL", "return redis.call('get',ARGV[1])", 1, tag + "1", foreign)
        self.assertIn("Script attempted to access a non local key in a cluster node", str(reply))
        flagged = "#!lua\nreturn redis.call('get',ARGV[1])"
        reply = mine.ask("EVAL", flagged, 1, tag + "1", near)
        self.assertIn(
            "Script attempted to access keys that do not hash to the same slot", str(reply))
        crossing = "#!lua flags=allow-cross-slot-keys\nreturn redis.call('get',ARGV[1])"
        self.assertIsNone(mine.call("EVAL", crossing, 1, tag + "1", near))
        self.assertIsNone(mine.call("EVAL", flagged[5:], 1, tag + "1", near))
        reply = mine.ask("EVAL", "#!lua flags=no-cluster\nreturn 1", 0)
        self.assertIn("'no-cluster' flag is set", str(reply))


@unittest.skipUnless(redis, "redis-py is not installed")
class ClientTests(SharedServer):
    def setUp(self):
        super().setUp()
        self.client = redis.Redis(port=self.shared.port)
        self.addCleanup(self.client.close)

    def test_register_script(self):
        self.client.script_flush()
        add = self.client.register_script("return redis.call('incrby',KEYS[1],ARGV[1])")
        self.assertEqual(add(keys=["n"], args=[5]), 5)
        self.assertEqual(add(keys=["n"], args=[2]), 7)
        with self.client.pipeline() as pipe:
            add(keys=["n"], args=[1], client=pipe)
            pipe.get("n")
            self.assertEqual(pipe.execute(), [8, b"8"])
        self.assertEqual(self.client.script_exists(add.sha), [True])

    def test_functions(self):
        self.client.function_flush()
        self.client.function_load(
            "#!lua name=lib\nredis.register_function('double',"
            "function(keys,args) return args[1]*2 end)")
        self.assertEqual(self.client.fcall("double", 0, 21), 42)
        self.assertEqual(len(self.client.function_list()), 1)
        payload = self.client.function_dump()
        self.client.function_delete("lib")
        self.client.function_restore(payload)
        self.assertEqual(self.client.fcall("double", 0, 4), 8)

    def test_locks(self):
        with self.client.lock("lock", timeout=10):
            self.assertFalse(self.client.lock("lock", timeout=10).acquire(blocking=False))
        self.assertTrue(self.client.lock("lock", timeout=10).acquire(blocking=False))


class ObservationTests(SharedServer):
    directives = {"maxmemory": "0"}

    def test_monitor_shows_the_script_first(self):
        watcher = self.shared.connect()
        self.assertEqual(watcher.call("MONITOR"), "OK")
        self.connection.call("EVAL", "return redis.call('set','x',1)", 0)
        lines = [watcher.read(), watcher.read()]
        self.assertIn('"EVAL" "return redis.call', lines[0])
        self.assertTrue(lines[1].endswith('[0 lua] "set" "x" "1"'), lines[1])

    def test_statistics(self):
        self.connection.call("CONFIG", "RESETSTAT")
        self.connection.ask("EVAL", "return redis.call('get')", 0)
        self.connection.ask("EVAL", "redis.call('set','l',1) return redis.call('incr','l')", 0)
        self.connection.ask("EVAL", "redis.call('set','l','x') return redis.call('incr','l')", 0)
        stats = self.connection.info("commandstats")
        self.assertIn("calls=2,", stats["cmdstat_incr"])
        self.assertIn("failed_calls=1", stats["cmdstat_incr"])
        self.assertIn("rejected_calls=1", stats["cmdstat_get"])
        self.assertIn("calls=3,", stats["cmdstat_eval"])
        self.assertIn("failed_calls=2", stats["cmdstat_eval"])
        self.assertEqual(self.connection.info("stats")["total_error_replies"], "2")

    def test_watch_sees_what_a_script_does(self):
        other = self.shared.connect()
        other.call("WATCH", "w")
        self.connection.call("EVAL", "redis.call('set','w',1)", 0)
        other.call("MULTI")
        other.call("PING")
        self.assertIsNone(other.call("EXEC"))

    def test_waiting_clients_are_served_after_the_script(self):
        waiting = self.shared.connect()
        waiting.send("BLPOP", "q", 0)
        wait_until(lambda: self.connection.info()["blocked_clients"] == "1", "a waiting client")
        pushed = self.connection.call(
            "EVAL", "redis.call('rpush','q',1) redis.call('rpush','q',2) "
            "return redis.call('llen','q')", 0)
        self.assertEqual(pushed, 2)
        self.assertEqual(waiting.read(), [b"q", b"1"])

    def test_tracking_of_what_a_script_reads(self):
        reader = self.shared.connect(protocol=3)
        reader.call("CLIENT", "TRACKING", "ON")
        reader.call("EVAL", "return redis.call('get','t')", 0)
        self.connection.call("SET", "t", 1)
        push = reader.read()
        self.assertEqual(push[0], b"invalidate")

    def test_a_script_s_write_is_its_client_s_own(self):
        reader = self.shared.connect(protocol=3)
        reader.call("CLIENT", "TRACKING", "ON", "NOLOOP")
        reader.call("GET", "t")
        reader.call("EVAL", "return redis.call('set','t',2)", 0)
        self.assertEqual(reader.call("GET", "t"), b"2")
        self.connection.call("SET", "t", 3)
        self.assertEqual(reader.read()[0], b"invalidate")
