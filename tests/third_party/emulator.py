"""What cases use of the emulator: buffers, parameters, launches with every checker on."""
import ctypes, time
import numpy as np
import build
import ptx
d=ctypes.CDLL('/work/wt/third/build/third_party/drv.so')
V,S,U64=ctypes.c_void_p,ctypes.c_char_p,ctypes.c_uint64
d.d_err.restype=S
d.d_parse.restype=V; d.d_parse.argtypes=[S,ctypes.c_size_t,S,S]
d.d_mem.restype=V; d.d_mem_free.argtypes=[V]; d.d_mod_free.argtypes=[V]
d.d_alloc.restype=U64; d.d_alloc.argtypes=[V,ctypes.c_size_t,S]
d.d_write.argtypes=[V,U64,V,ctypes.c_size_t]; d.d_read.argtypes=[V,U64,V,ctypes.c_size_t]
d.d_launch.argtypes=[V,V,S,V,ctypes.c_size_t,V,ctypes.c_size_t,ctypes.c_int,ctypes.c_int,U64,U64,V]
d.d_map.argtypes=[V,ctypes.c_int,ctypes.c_int,U64,V,V,V,V]+[ctypes.c_int]*4
class Finding(Exception): pass
def ok(r):
    if not r: raise Finding(d.d_err().decode())
    return r
class Buffer:
    def __init__(self, dev, shape, dtype, label):
        self.dev,self.shape,self.dtype=dev,shape if isinstance(shape,tuple) else (shape,),np.dtype(dtype)
        self.bytes=int(np.prod(self.shape))*self.dtype.itemsize
        self.address=ok(d.d_alloc(dev.mem,max(self.bytes,1),label.encode()))
    def write(self, a):
        a=np.ascontiguousarray(a,self.dtype); assert a.nbytes==self.bytes,(a.shape,self.shape)
        ok(d.d_write(self.dev.mem,self.address,a.ctypes.data,self.bytes)); return self
    def read(self):
        a=np.empty(self.shape,self.dtype); ok(d.d_read(self.dev.mem,self.address,a.ctypes.data,self.bytes)); return a
class Device:
    def __init__(self, target='sm_120a', seed=0):
        self.target,self.seed,self.mem=target,seed,d.d_mem(); self.seconds=0; self.counts=np.zeros(3,np.uint64)
        self.launches=[]
    def __del__(self): d.d_mem_free(self.mem)
    def put(self, a, label='in'): return Buffer(self,a.shape,a.dtype,label).write(a)
    def empty(self, shape, dtype, label='out'): return Buffer(self,shape,dtype,label)
    def tensor_map(self, buffer, dtype, dims, strides, box, swizzle=0, interleave=0, l2=0, oob=0, elem=None):
        out=(ctypes.c_char*128)(); n=len(dims)
        ok(d.d_map(out,dtype,n,buffer.address if hasattr(buffer,'address') else buffer,(U64*n)(*dims),(U64*n)(*strides,*([0]*(n-len(strides)))),(ctypes.c_uint32*n)(*box),(ctypes.c_uint32*n)(*(elem or [1]*n)),interleave,swizzle,l2,oob))
        return bytes(out)
    def launch(self, unit, pattern, grid, block, params, smem=0, cluster=(1,1,1), check=True, race=True, patches=()):
        module=ptx.load(build.BUILD/'ptx'/f'{unit}.{self.target}.ptx'); entry=module.find(pattern)
        text=module.text_of(entry); text=ptx.patched(text, patches).encode()
        block3=lambda v: tuple(v)+(1,)*(3-len(v)) if isinstance(v,tuple) else (v,1,1)
        m=ok(d.d_parse(text,len(text),f'emu:{self.target}'.encode(),unit.encode()))
        blob=bytearray(); decl=module.parameters(entry)
        assert len(decl)==len(params),(len(decl),len(params),module.readable[entry])
        for (size,align),p in zip(decl,params):
            raw=p.address.to_bytes(8,'little') if isinstance(p,Buffer) else (b'\0'*8 if p is None else (p if isinstance(p,bytes) else p.tobytes()))
            assert len(raw)==size,(len(raw),size,p)
            blob+=b'\0'*(-len(blob)%align)+raw
        want=d.d_param_bytes(V(m),entry.encode()); assert want==len(blob),(want,len(blob))
        counts=np.zeros(3,np.uint64); dims=np.array([*block3(grid),*block3(block),*block3(cluster)],np.uint32)
        t=time.perf_counter()
        r=d.d_launch(m,self.mem,entry.encode(),dims.ctypes.data,smem,bytes(blob),len(blob),check,race,self.seed,0,counts.ctypes.data)
        self.seconds+=time.perf_counter()-t; d.d_mod_free(m); ok(r); self.counts+=counts
        self.launches.append((unit,entry,module.readable[entry],text.count(b'\n'),block3(grid),block3(block),smem))
