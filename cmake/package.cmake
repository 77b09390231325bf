# SPDX-License-Identifier: Apache-2.0
# package: what `cpack` makes.
#
#   cpack -G DEB   libclgaze1, libclgaze-dev and clgaze-tools; configure with -DCMAKE_INSTALL_PREFIX=/usr
#   cpack -G TGZ   an archive that runs from wherever it is unpacked; with -DCLGAZE_BUNDLE=ON
#   cpack -G ZIP   the same for Windows, with cmake/mingw.cmake
#
# docs/install.md has the commands, tests/package.sh runs them.
option(CLGAZE_BUNDLE "Install cJSON's library too, and let programs look for libraries in ../lib" OFF)

set(CLGAZE_NOTICES "" CACHE STRING "Licences of others' code that the archive holds, files")
foreach(notice IN LISTS CLGAZE_NOTICES)
    get_filename_component(of ${notice} DIRECTORY)
    get_filename_component(of ${of} NAME)
    get_filename_component(name ${notice} NAME)
    install(FILES ${notice} DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME ${of}-${name} COMPONENT documents)
endforeach()
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT documents)
if(CLGAZE_BUNDLE AND programs)
    set_target_properties(${programs} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
    get_filename_component(cjson_folder ${CLGAZE_cjson_LIBRARY} DIRECTORY)
    file(READ_SYMLINK ${CLGAZE_cjson_LIBRARY} cjson_name)
    file(REAL_PATH ${cjson_name} cjson_file BASE_DIRECTORY ${cjson_folder})
    install(FILES ${cjson_file} DESTINATION lib RENAME ${cjson_name} COMPONENT tools)
endif()

# Each package of Debian's says under which licence it comes; `cmake --install` needs no three copies.
set(deb_runtime libclgaze${PROJECT_VERSION_MAJOR})
set(deb_dev libclgaze-dev)
set(deb_tools clgaze-tools)
foreach(component IN ITEMS runtime dev tools)
    install(FILES cmake/copyright DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${deb_${component}} COMPONENT ${component}
            EXCLUDE_FROM_ALL)
endforeach()

set(CPACK_PACKAGE_VENDOR "The clgaze authors")
set(CPACK_PACKAGE_CONTACT "The clgaze authors <maintainers@users.noreply.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGE_FILE_NAME clgaze-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
string(TOLOWER "${CPACK_PACKAGE_FILE_NAME}" CPACK_PACKAGE_FILE_NAME)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/cmake/cpack.cmake)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=") # 1.x adds names and takes none away
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME ${deb_runtime})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SUGGESTS "pocl-opencl-icd | opencl-icd")
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "Shared library of learned block-sparse attention for OpenCL.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME ${deb_dev})
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
    "${deb_runtime} (= ${PROJECT_VERSION}), ocl-icd-opencl-dev | opencl-dev, opencl-headers | opencl-c-headers")
if(CLGAZE_WITH_CLBLAST) # of the static library
    string(APPEND CPACK_DEBIAN_DEV_PACKAGE_DEPENDS ", libclblast-dev")
endif()
set(CPACK_COMPONENT_DEV_DESCRIPTION "Headers, static library, CMake and pkg-config files of libclgaze.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME ${deb_tools})
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SUGGESTS "pocl-opencl-icd | opencl-icd")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "Programs that run, tune, time and teach block-sparse attention on OpenCL.")
include(CPack)
