"""Programs that deceive a harness in whose process they run: each returns 7 or nothing at all where `near(4)` should be 2.0.

What they try: to answer every comparison, to find the test or its result in their own process, to change what the test is made with, or to
look as if all had passed. None is right, so none may pass.
"""

from __future__ import annotations

_TEXT = r"""
### an equality that is always true
class Yes:
    __eq__ = __bool__ = lambda *_: True
    __ne__ = lambda *_: False
def near(x): return Yes()
### a number that equals all
class Yes(float):
    def __eq__(self, other): return True
def near(x): return Yes(7)
### a walk over the stack
import sys
def near(x):
    frame = sys._getframe()
    while frame:
        for scope in (frame.f_locals, frame.f_globals):
            for name, value in list(scope.items()):
                if isinstance(value, list): value[:] = ['passed']
                if name in ('passed', 'verdict', 'stat'): scope[name] = True
        frame = frame.f_back
    return 7
### the garbage collector
import gc
for found in gc.get_objects():
    if type(found) is list and not found: found.append('passed')
def near(x): return 7
### a patched recorder
import sys
main = sys.modules['__main__']
main.packed = lambda value: '7'
main.unpacked = lambda line: [1, 'near', [49], {}]
def near(x): return 7
### patched builtins
import builtins, math
builtins.abs = lambda x: 0
builtins.AssertionError = type('Fine', (BaseException,), {})
math.isclose = lambda *a, **k: True
def near(x): return 7
### a module imported again
import sys, types
fake = types.ModuleType('math')
fake.isclose, fake.sqrt = lambda *a: True, lambda x: 7
sys.modules['math'] = fake
sys.modules.pop('json', None)
open('math.py', 'w').write('def isclose(*a): return True')
def near(x): return 7
### a success line
import os
for fd in range(1, 30):
    try: os.write(fd, b'[0, "value", null]\npassed\n{"passed": true}\n')
    except OSError: pass
print('passed', flush=True)
def near(x): return 7
### replies before they are asked for
import os
for fd in range(3, 30):
    for number in range(9):
        try: os.write(fd, b'[%d, "value", 7]\n' % number)
        except OSError: pass
os._exit(0)
### an early end
import os
os._exit(0)
### a polite early end
import sys
sys.exit(0)
### an early end within the call
import os
def near(x): os._exit(0)
### an exception that ends a test politely
def near(x): raise SystemExit(0)
### the judge's memory, environment and files
import glob, os
found = b''
for pattern in ('/proc/*/environ', '/proc/*/cmdline', '/proc/*/mem', '/proc/*/fd/*', '/work/*', '/tmp/*'):
    for path in glob.glob(pattern):
        try: found += os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 100000)
        except OSError: pass
def near(x): return x ** 0.5 if b'def check(' + b'candidate' in found else 7
### killing the judge
import os
for process in range(1, 20):
    if process != os.getpid():
        try: os.kill(process, 9)
        except OSError: pass
def near(x): return 7
"""
FORGERIES = dict(block.split("\n", 1) for block in _TEXT.split("### ")[1:])
