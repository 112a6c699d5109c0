cdef tuple path_of(dict record)
cdef list told(list tunnels)
cdef str address(bytes packed)
