# SPDX-License-Identifier: Apache-2.0
# Cross-build for Windows x86-64 with mingw-w64:
#
#   cmake -S . -B build-windows -DCMAKE_TOOLCHAIN_FILE=cmake/mingw.cmake -DCLGAZE_WITH_CLBLAST=OFF ...
#
# tests/ports.sh makes an import library of OpenCL.dll and gives its place, the headers' and cJSON's.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc-posix) # the one with POSIX threads
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# gcc warns of %zu, which Microsoft's printf lacked, though mingw-w64 puts its own in that place; and
# mingw-w64's isnan() converts what it does not evaluate.
set(CMAKE_C_FLAGS_INIT "-Wno-format -Wno-format-extra-args -Wno-float-conversion")
# Programs that need no DLL of the compiler's.
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
set(CMAKE_SHARED_LINKER_FLAGS_INIT -static)
