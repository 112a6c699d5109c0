from vermilion_fingerprint.conversation cimport Conversation
from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.streams cimport Stream


cdef class Unfinished:
    cdef long type, length, number
    cdef Stream body


cdef class Association(Conversation):
    cdef dict _unfinished  # by message_seq
    cdef set _told         # message_seq

    cdef int _fragments(self, Cursor record) except -1
    cdef int _fragment(self, long type, long length, long number, long offset, bytes data) except -1
    cdef int _hello(self, Unfinished message) except -1
