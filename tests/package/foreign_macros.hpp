// SPDX-License-Identifier: MIT
// Macros that other libraries' headers define; dialects.sh puts this between the
// standard library's headers and rubato's.
#pragma once

// <complex.h>, <sys/sysmacros.h>, <sys/param.h>
#define I (__extension__ 1.0iF)
#define major(dev) gnu_dev_major(dev)
#define minor(dev) gnu_dev_minor(dev)
#define makedev(maj, min) gnu_dev_makedev(maj, min)
#define MIN(a, b) (((a) < (b)) ? (a) : (b))
#define MAX(a, b) (((a) > (b)) ? (a) : (b))

// Qt
#define slots
#define signals public
#define emit
#define foreach(one, all) for (auto one : all)
#define forever for (;;)

// X11/X.h, X11/Xlib.h
#define None 0L
#define Always 2
#define Above 0
#define Below 1
#define Complex 0
#define Convex 2
#define Success 0
#define Bool int
#define Status int
#define True 1
#define False 0
#define Expose 12
#define KeyPress 2
#define CurrentTime 0L
#define Unsorted 0
#define CursorShape 0

// curses, which takes back in C++ what the standard library needs (move, clear, erase, ...)
#define OK (0)
#define ERR (-1)
#define TRUE 1
#define FALSE 0
#define timeout(delay) wtimeout(stdscr, (delay))
#define scroll(win) wscrl((win), 1)
#define getch() wgetch(stdscr)
#define border(a, b, c, d) wborder(stdscr, a, b, c, d, 0, 0, 0, 0)
#define standout() wstandout(stdscr)

// windows.h and rpcndr.h
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define near
#define far
#define small char
#define hyper __int64
#define interface struct
#define IN
#define OUT
#define ERROR 0
#define DELETE 0x00010000L
#define NO_ERROR 0L
#define STRICT 1
#define VOID void
#define CALLBACK __stdcall

// predefined by gnu++20 on other systems, and old habits
#define unix 1
#define linux 1
#define PI 3.14159
