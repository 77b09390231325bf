# SPDX-License-Identifier: Apache-2.0
# Write kernels into a C file as byte arrays (a string literal may hold only
# 4095 characters in ISO C).  A build step:
#
#   cmake -D LIST=embed_files.cmake -D OUT=clg_sources.c -P embed.cmake
#
# LIST sets `files`.  The result defines clg_sources[] of src/internal.h, or with
# -D TABLE=x -D HEADER=x.h the table x that x.h declares.
include(${LIST})
if(NOT DEFINED TABLE)
    set(TABLE clg_sources)
    set(HEADER internal.h)
endif()

set(arrays "")
set(table "")
set(i 0)
foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME)
    file(READ ${file} bytes HEX)
    string(LENGTH "${bytes}" size)
    math(EXPR size "${size} / 2")
    string(REGEX REPLACE "(................................)" "\\1\n    " bytes "${bytes}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    # One byte more ends the text as a string and keeps an empty file legal.
    string(APPEND arrays "static const unsigned char text_${i}[] = {\n    ${bytes}0x00};\n\n")
    string(APPEND table "    {\"${name}\", text_${i}, ${size}},\n")
    math(EXPR i "${i} + 1")
endforeach()

file(WRITE ${OUT}.new
     "/* Made by cmake/embed.cmake. */\n#include \"${HEADER}\"\n\n${arrays}"
     "const struct clg_source ${TABLE}[] = {\n${table}    {NULL, NULL, 0},\n};\n")
file(RENAME ${OUT}.new ${OUT})
